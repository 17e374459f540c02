from time import perf_counter

from hypothesis import given
from hypothesis import strategies as st

from app.core.db._shape import _shape, reads_tables, shape_of
from tests.cases import each_case


@each_case(
    ("statement", "shape"),
    [
        ("SELECT a FROM t WHERE id = $1::UUID", "SELECT a FROM t WHERE id = ?"),
        (
            "SELECT a\nFROM t  WHERE at < $2::TIMESTAMP WITH TIME ZONE AND b",
            "SELECT a FROM t WHERE at < ? AND b",
        ),
        ("SELECT 'it''s' || E'\\'x' || $q$ ' $q$", "SELECT ? || ? || ?"),
        ('SELECT "a 1", b2 FROM t3 LIMIT 10', 'SELECT "a 1", b2 FROM t3 LIMIT ?'),
        ("SELECT 1 -- secret 2\n/* it's 3 */;", "SELECT ?"),
        ("SELECT a FROM t WHERE n = -1.5e3 OR n=.5", "SELECT a FROM t WHERE n = -? OR n=?"),
        ("INSERT INTO t (a, b) VALUES ($1, 'x'), ($3, $4)", "INSERT INTO t (a, b) VALUES (...)"),
        ("SELECT a /* never closed", "SELECT a"),
        ("SELECT 'never closed", "SELECT ?"),
    ],
)
def test_values_are_left_out_and_names_stay(statement: str, shape: str) -> None:
    assert shape_of(statement) == shape


@each_case(
    ("statement", "shape"),
    [
        ("SELECT 1 --\r, 'a\nsecret'", "SELECT ? , ?"),
        ("SELECT $\u00e9\u20ac$ secret $\u00e9\u20ac$, b", "SELECT ?, b"),
        ("SELECT x$a$, 'y $a$ secret'", "SELECT x$a$, ?"),
        ("SELECT a$e'\\', 'secret'", "SELECT a$e?"),
        ("SELECT 'a\\', secret'", "SELECT ?"),
        ("SELECT E'a'\n'it\\'s secret'", "SELECT ? ?"),
        ("SELECT E'it\\'s a secret that is cut here\\", "SELECT ?"),
        ("SELECT \"oops FROM t WHERE p = 'secret'", "SELECT ?"),
        ("SELECT $1$x$ secret $x$, 1..987, $100.987", "SELECT ??, ??, ??"),
        ("SELECT $$secret$$, b FROM t", "SELECT ?, b FROM t"),
        ('SELECT "a\u202eb", c\u2028d', 'SELECT "a b", c d'),
    ],
)
def test_a_value_is_found_wherever_the_server_would_find_it(statement: str, shape: str) -> None:
    assert shape_of(statement) == shape


@given(st.integers(1, 200), st.integers(1, 200))
def test_lists_of_any_length_have_one_shape(one: int, other: int) -> None:
    def statement(length: int) -> str:
        return f"SELECT a FROM t WHERE id IN ({', '.join(f'${i + 1}::INTEGER' for i in range(length))})"

    assert shape_of(statement(one)) == shape_of(statement(other)) == "SELECT a FROM t WHERE id IN (...)"


@given(st.text(st.characters(exclude_characters="\x00"), max_size=60), st.integers(0))
def test_no_literal_is_in_a_shape(value: str, number: int) -> None:
    quoted = value.replace("'", "''")
    shape = shape_of(f"SELECT a FROM t WHERE b = '{quoted}' AND c = {number}")
    # A quote after a backslash ends the literal, or does not, as standard_conforming_strings is set: nothing after it is shown.
    is_unsure = "\\'" in f"{quoted}'"
    assert shape == "SELECT a FROM t WHERE b = ?" + ("" if is_unsure else " AND c = ?")


def test_a_long_text_is_not_remembered() -> None:
    kept = _shape.cache_info().currsize
    assert shape_of(f"SELECT '{'x' * 5_000}'") == "SELECT ?"
    assert _shape.cache_info().currsize == kept


@given(st.text(max_size=200))
def test_any_text_has_a_shape_in_one_line(statement: str) -> None:
    shape = shape_of(f"SELECT a FROM t {statement}")
    assert shape.startswith("SELECT a FROM t")
    assert "  " not in shape


@each_case("part", ["/*", "'", "$a$", '"', "$1::", "(?,", "0x", "--", "E'\\"])
def test_a_long_hostile_text_takes_no_long(part: str) -> None:
    started = perf_counter()
    shape_of(part * 100_000)
    assert perf_counter() - started < 1


@each_case(
    ("shape", "reads"),
    [
        ("SELECT a FROM t", True),
        ("(SELECT a FROM t) UNION (SELECT b FROM u)", True),
        ("WITH x AS (...) SELECT a FROM x", True),
        ("SELECT ?", False),
        ("INSERT INTO t (a) VALUES (...)", False),
        ("SELECT relname FROM pg_class", False),
        ("SELECT a FROM information_schema.columns", False),
        ("SELECT pg_id FROM t", True),
    ],
)
def test_what_reads_tables(shape: str, reads: bool) -> None:
    assert reads_tables(shape) is reads
