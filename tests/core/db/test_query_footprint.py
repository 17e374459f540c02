"""What a statement in text ends in the query cache, and what its result depends on."""

from app.core.db._query_footprint import ALL_TABLES, ANY_WRITE, footprint, table_tags
from tests.cases import each_case

NOT_UNDERSTOOD = "SELECT * FROM users WHERE (("


@each_case(
    "sql",
    [
        "SELECT 'update users' FROM users",
        'SELECT "call" FROM users',
        "SELECT * FROM users FOR UPDATE",
        NOT_UNDERSTOOD,
        f"{NOT_UNDERSTOOD} FOR NO KEY UPDATE",
    ],
)
def test_a_read_ends_nothing_whatever_words_are_in_it(sql: str) -> None:
    assert footprint(sql).writes == frozenset()


@each_case(
    ("sql", "ended"),
    [
        ("UPDATE users SET n = 1", "table:users"),
        ("UPDATE Users SET n = ((", "table:users"),
        ("insert into shop.users ((", "table:shop.users"),
        ("WITH gone AS (DELETE FROM users RETURNING 1) SELECT ((", ALL_TABLES),
        ("CALL refresh()", ALL_TABLES),
    ],
)
def test_a_write_ends_its_table_or_all_when_nobody_can_tell(sql: str, ended: str) -> None:
    assert footprint(sql).writes == {ended, ANY_WRITE}


def test_a_result_depends_on_its_tables_as_far_as_they_are_known() -> None:
    mark = footprint("SELECT * FROM users JOIN public.wards ON true")
    assert mark.reads == {"table:users", "table:wards"}
    assert mark.is_known
    assert not footprint(NOT_UNDERSTOOD).is_known


@each_case(
    ("sql", "is_snapshot"),
    [
        ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", True),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", True),
        ("SET transaction_isolation = 'serializable'", True),
        ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", False),
    ],
)
def test_one_snapshot_for_the_whole_transaction_is_seen(sql: str, is_snapshot: bool) -> None:
    assert footprint(sql).is_snapshot is is_snapshot


def test_named_tables_are_the_same_with_and_without_the_public_schema() -> None:
    assert table_tags(["public.users", " users "]) == {"table:users"}
