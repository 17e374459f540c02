from hypothesis import given
from hypothesis import strategies as st

from app.core.monitor import redacted
from tests.cases import each_case


@each_case(
    ("statement", "shown"),
    [
        ("SELECT a FROM t WHERE b = 'secret' AND c = 7", "SELECT a FROM t WHERE b = ? AND c = ?"),
        ("ALTER ROLE bob PASSWORD 'hunter3'", "ALTER ROLE ..."),
        ("create  user bob with password E'hun\\'ter'", "CREATE USER ..."),
        ("ALTER USER MAPPING FOR bob SERVER s OPTIONS (password 'x')", "ALTER USER ..."),
        ("DO $$ BEGIN PERFORM 'secret'; END $$", "DO ..."),
        ("COPY (SELECT 'secret') TO PROGRAM 'mail me'", "COPY ..."),
        ("CREATE SUBSCRIPTION s CONNECTION 'password=x' PUBLICATION p", "CREATE SUBSCRIPTION ..."),
        ("SET app.token = 'secret'", "SET ..."),
        ("select 1; alter role bob password 'x'; select 2", "select ?; ALTER ROLE ...; select ?"),
        ("SELECT 1 /* a /* nested */ secret */ + 2", "SELECT ?"),
        ('SELECT "odd;name" FROM t', 'SELECT "odd;name" FROM t'),
        ("SELECT 'never closed secret", "SELECT ?"),
        ("(SELECT 1) UNION (SELECT 2)", "(SELECT ?) UNION (SELECT ?)"),
        ("'secret'", "<not shown>"),
        ("hunter3", "<not shown>"),
        ("autovacuum: VACUUM public.t", "AUTOVACUUM ..."),
        ("", "<not shown>"),
    ],
)
def test_no_value_is_shown_and_of_utilities_only_the_verb(statement: str, shown: str) -> None:
    assert redacted(statement) == shown


@given(st.text(st.characters(exclude_characters="\x00"), max_size=40))
def test_a_password_is_never_shown(password: str) -> None:
    quoted = password.replace("'", "''")
    assert redacted(f"ALTER ROLE bob PASSWORD '{quoted}'") == "ALTER ROLE ..."
    assert redacted(f"SELECT a FROM t WHERE p = '{quoted}'") == "SELECT a FROM t WHERE p = ?"
