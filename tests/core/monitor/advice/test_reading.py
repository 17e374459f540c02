from app.core.monitor._relations import quoted
from app.core.monitor.advice._expressions import (
    Both,
    Call,
    Cast,
    Column,
    Constant,
    Either,
    Given,
    IsTest,
    Negation,
    OfArray,
    Opaque,
    Operation,
    columns_of,
    is_understood,
)
from app.core.monitor.advice._patterns import pattern_of
from app.core.monitor.advice._reading import read
from app.core.monitor.advice._rendering import rendered
from tests.cases import each_case

A, STATUS = Column("o", "a"), Column("o", "status")


class TestWhatTheServerPrintsIsRead:
    @each_case(
        ("text", "expected"),
        [
            ("(o.a = 1)", Operation("=", A, Constant("1"))),
            ("((o.status)::text = 'it''s'::text)", Operation("=", Cast(STATUS, "text"), Cast(Constant("'it''s'"), "text"))),
            ("(o.a = ANY ('{1,2}'::integer[]))", OfArray("=", A, Cast(Constant("'{1,2}'"), "integer[]"))),
            ("(o.a <> ALL ($1))", OfArray("<>", A, Given("$1"), is_all=True)),
            ("(o.a IS NOT NULL)", IsTest(A, "NOT NULL")),
            ("(NOT o.a)", Negation(A)),
            ('("Or"."Created At" >= now())', Operation(">=", Column("Or", "Created At"), Call("now", ()))),
            ("(o.a >= (InitPlan 1).col1)", Operation(">=", A, Given("$initplan1"))),
            ("(EXTRACT(year FROM o.a) = '7'::numeric)", Operation("=", Call("year", (A,), "extract"), Cast(Constant("'7'"), "numeric"))),
            (
                "((o.a = 1) OR (lower(o.status) ~~* $2))",
                Either((Operation("=", A, Constant("1")), Operation("~~*", Call("lower", (STATUS,)), Given("$2")))),
            ),
            (
                "((o.a)::timestamp(3) without time zone < (CURRENT_DATE - '7 days'::interval))",
                Operation(
                    "<",
                    Cast(A, "timestamp(3) without time zone"),
                    Operation("-", Given("CURRENT_DATE"), Cast(Constant("'7 days'"), "interval")),
                ),
            ),
        ],
    )  # fmt: skip
    def test_as_a_tree(self, text: str, expected: object) -> None:
        assert read(text) == expected

    def test_and_is_flat(self) -> None:
        found = read("((o.a = 1) AND (o.status IS NULL) AND (o.a < 5))")
        assert isinstance(found, Both)
        assert len(found.parts) == 3

    @each_case(
        "text",
        [
            "(ANY (o.a = (hashed SubPlan 1).col1))",
            "(CASE WHEN o.a THEN 1 ELSE 2 END = o.status)",
            "(o.a IS DISTINCT FROM 1)",
            "((o.a)[1] = 3)",
            "EXISTS(SubPlan 2)",
            "(o.a = 1",
            "(o.a = 'open)",
            "(" * 300 + "o.a" + ")" * 300,
            "(o.a = '" + "x" * 30_000 + "')",
        ],
        ids=lambda text: text[:30],
    )
    def test_what_has_another_form_is_not_understood(self, text: str) -> None:
        assert not is_understood(read(text))

    def test_of_what_is_not_understood_the_columns_are_seen(self) -> None:
        found = read("(CASE WHEN o.a THEN f(o.status) ELSE pg_catalog.now() END)")
        assert isinstance(found, Opaque)
        assert columns_of(found) == (A, STATUS)


class TestRendering:
    @each_case(
        "text",
        [
            "((o.a = 1) AND (NOT o.b) AND (o.c IS NULL))",
            "((o.data ->> 'x'::text) = ANY ('{a,b}'::text[]))",
            "(ROW(o.a, o.b) < ROW('2020-01-01'::timestamp with time zone, 5))",
            "((o.ts AT TIME ZONE 'UTC'::text) > now())",
            "(EXTRACT(year FROM o.ts) = '7'::numeric)",
            "((o.a)::character varying(20) ~~* $1)",
            '("Or"."a""b" OPERATOR(public.%) ARRAY[1, (- 2)])',
            '(o.name COLLATE "C")',
        ],
    )
    def test_what_was_read_means_the_same_when_written(self, text: str) -> None:
        assert read(rendered(read(text))) == read(text)

    def test_names_are_quoted(self) -> None:
        assert quoted('a"; DROP TABLE x --') == '"a""; DROP TABLE x --"'
        assert rendered(Column("o", "Created At")) == '"o"."Created At"'
        assert rendered(Column("o", "Created At"), aliases=False) == '"Created At"'


@each_case(
    ("operator", "pattern", "kind"),
    [
        ("~~", "'abc'", "exact"),
        ("~~", "'abc%'", "prefix"),
        ("~~", "'ab%cd_'", "prefix"),
        ("~~", "'%abc%'", "inside"),
        ("~~", "'%ab%'", "open"),
        ("~~", r"'10\%%'", "prefix"),
        ("~~*", "'abc%'", "inside"),
        ("~~*", "'123%'", "prefix"),
        ("~~", "$1", "open"),
        ("~", "'^abc'", "prefix"),
        ("~", "'x.*abcd'", "inside"),
        ("~", "'abcd|x'", "open"),
        ("~", "'(abc|defg)hi'", "inside"),
        ("~", "'err(or|no)'", "inside"),
        ("~", r"'\dab[cde]fg'", "open"),
        ("~", "'ab(c|d)?'", "open"),
        ("~*", "'abc*'", "open"),
        ("^@", "'abc'", "prefix"),
        ("^@", "$1", "open"),
        ("^@", "''", "open"),
        ("~", "'^(?:abc.*)$'", "prefix"),
        ("~", "'^(?:abc|xy)$'", "open"),
        ("=", "'abc'", None),
    ],
)
def test_patterns(operator: str, pattern: str, kind: str | None) -> None:
    found = pattern_of(operator, Cast(read(pattern), "text"))
    assert (found.kind if found is not None else None) == kind
