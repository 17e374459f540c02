from app.core.monitor import (
    SlowStatement,
    StatementUse,
    extension_missing,
    is_noise,
    ranked,
    statement_findings,
    statement_marks,
    statements_in_order,
    texts_hidden,
)
from tests.cases import each_case

MS = 1_000


@each_case(
    ("use", "share", "marks"),
    [
        (StatementUse(calls=100, exec_us=100 * 20 * MS, rows=100), 0, ("slow",)),
        (StatementUse(calls=99, exec_us=99 * 20 * MS, rows=99), 0, ()),
        (StatementUse(calls=100, exec_us=100 * 20 * MS - 1, rows=100), 0, ()),
        (StatementUse(calls=1, exec_us=MS, rows=1), 5.0, ("heavy",)),
        (StatementUse(calls=1, exec_us=MS, rows=1), 4.9, ()),
        (StatementUse(calls=10, exec_us=10 * MS, squares_ms2=10 * 2.1), 0, ("unstable",)),
        (StatementUse(calls=10, exec_us=10 * MS, squares_ms2=10 * 2.0), 0, ()),
        (StatementUse(calls=9, exec_us=9 * MS, squares_ms2=9 * 9.0), 0, ()),
        (StatementUse(calls=1, temp_blocks=1), 0, ("spills",)),
        (StatementUse(calls=1, rows=2, hit_blocks=150, read_blocks=51), 0, ("reads_much",)),
        (StatementUse(calls=1, rows=2, hit_blocks=200), 0, ()),
        (StatementUse(calls=2, hit_blocks=201), 0, ("reads_much",)),
        (StatementUse(calls=2, plans=2, plan_us=5, exec_us=4), 0, ("planning",)),
        (StatementUse(calls=2, wal_bytes=2 * 2**20), 0, ("wal",)),
        (StatementUse(calls=2, wal_bytes=2 * 2**20 - 1), 0, ()),
        (StatementUse(), 0, ()),
    ],
)
def test_thresholds(use: StatementUse, share: float, marks: tuple[str, ...]) -> None:
    assert statement_marks(use, share) == marks


def test_each_order_puts_the_most_first_and_time_decides_among_equals() -> None:
    uses = {
        1: StatementUse(calls=9, exec_us=900, rows=1, max_us=100),
        2: StatementUse(calls=1, exec_us=500, rows=5, temp_blocks=1, max_us=500),
        3: StatementUse(calls=2, exec_us=100, plan_us=600, rows=5, wal_bytes=7, read_blocks=8),
    }
    assert statements_in_order(uses, "total") == [1, 3, 2]
    assert statements_in_order(uses, "mean") == [2, 1, 3]
    assert statements_in_order(uses, "calls") == [1, 3, 2]
    assert statements_in_order(uses, "max") == [2, 1, 3]
    assert statements_in_order(uses, "rows") == [3, 2, 1]
    assert statements_in_order(uses, "blocks") == [3, 1, 2]
    assert statements_in_order(uses, "temp") == [2, 1, 3]
    assert statements_in_order(uses, "wal") == [3, 1, 2]


def test_findings_are_of_what_costs_and_at_most_so_many() -> None:
    use = StatementUse(calls=100, exec_us=100 * 30 * MS, rows=1, temp_blocks=4)
    heavy, light = (
        SlowStatement(queryid, "SELECT ?", use, share, (), (), ("slow", "spills"))
        for queryid, share in ((1, 2.0), (2, 0.5))
    )
    found = statement_findings([heavy, light], window="1h")
    assert [(each.check, each.subject) for each in found] == [
        ("statements.slow", "1"),
        ("statements.spills", "1"),
    ]
    assert "mean 30.0 ms" in found[0].evidence
    assert ranked(found)[0].severity == "warning"
    assert len(statement_findings([heavy] * 30, window="1h")) == 20


def test_what_keeps_us_from_seeing_is_told_with_its_fix() -> None:
    assert extension_missing(is_available=True).ddl == ("CREATE EXTENSION IF NOT EXISTS pg_stat_statements;",)
    assert "contrib" in extension_missing(is_available=False).fix
    assert texts_hidden(0) == []
    assert "3 entries" in texts_hidden(3)[0].evidence


@each_case(
    ("statement", "noise"),
    [
        ("BEGIN READ ONLY", True),
        ("commit;", True),
        ("SET LOCAL jit = off", True),
        ("EXPLAIN SELECT * FROM orders", True),
        ("SELECT $1", True),
        ("SELECT 1 /*route='x'*/", True),
        ("SELECT $1::text", True),
        ("SELECT a FROM pg_catalog.pg_class c", True),
        ("SELECT a FROM pg_stat_user_tables", True),
        ("SELECT * FROM information_schema.columns", True),
        ("INSERT INTO monitor_statement_samples (at) VALUES ($1)", True),
        ("SELECT sum(calls) FROM monitor_statement_samples", True),
        ("SELECT true", True),
        ("SELECT pg_try_advisory_lock($1)", True),
        ("SELECT pg_advisory_lock($1)", False),
        ("SELECT name FROM orders", False),
        ("SELECT pages FROM x WHERE note = 'from pg_catalog'", False),
        ("INSERT INTO orders VALUES ($1)", False),
        ("SELECT * FROM monitors", False),
        ("VACUUM orders", False),
        ("CREATE INDEX ON orders (a)", False),
        ("WITH a AS (SELECT 1) SELECT * FROM a, orders", False),
        ("settle_accounts", False),
    ],
)
def test_brackets_catalogs_and_the_monitor_itself_are_noise(statement: str, noise: bool) -> None:
    assert is_noise(statement) is noise
