"""The measure of index advice: how an answer is graded, and whether the set of statements is what was promised."""

from collections import Counter

import asyncpg
import pytest

from bench.advice._case import Case, any_order, either_way, partial
from bench.advice._cases import SEEN, cases
from bench.advice._score import Aims, Said, grade, score
from bench.advice._servers import dsn
from bench.advice._shape import NotAnIndex, Shapes, normal, spec_of
from tests.cases import each_case

ONE, OTHER, WIDE = "t USING btree (a)", "t USING btree (b)", "t USING btree (a, b)"
NEEDED = Case("n", "k", "SELECT", ("t (a)",))
NONE = Case("o", "k", "SELECT")
REFUSED = Case("r", "k", "DROP", is_refused=True)


def said(*indexes: str) -> Said:
    return Said(frozenset(indexes))


@each_case(
    ("accepted", "answer", "found", "extra", "missing"),
    [
        ([{ONE}], said(ONE), {ONE}, set(), set()),
        ([{ONE}], said(WIDE), set(), {WIDE}, {ONE}),
        ([{ONE}], said(ONE, WIDE), {ONE}, {WIDE}, set()),
        ([{ONE}, {OTHER}], said(OTHER), {OTHER}, set(), set()),
        ([{ONE}, {OTHER}], said(ONE, OTHER), {ONE}, {OTHER}, set()),
        ([{ONE, OTHER}], said(ONE), {ONE}, set(), {OTHER}),
        ([{ONE, OTHER}, {ONE}], said(ONE), {ONE}, set(), set()),
        ([{ONE}], said(), set(), set(), {ONE}),
        ([], said(ONE), set(), {ONE}, set()),
    ],
)
def test_an_answer_is_held_against_the_nearest_right_one(
    accepted: list[set[str]], answer: Said, found: set[str], extra: set[str], missing: set[str]
) -> None:
    graded = grade(NEEDED, [frozenset(one) for one in accepted], answer)
    assert [set(one) for one in (graded.found, graded.extra, graded.missing)] == [found, extra, missing]
    assert graded.is_right is not bool(extra or missing)
    assert all(word in graded.why for word in extra | missing)


def test_refusing_is_right_only_where_it_was_asked_for_and_a_failure_never_is() -> None:
    no, broken = Said(refusal="no"), Said(failure="boom")
    assert [grade(case, [], no).is_right for case in (NONE, REFUSED)] == [False, True]
    assert [grade(case, [], broken).is_right for case in (NONE, REFUSED)] == [False, False]
    assert grade(REFUSED, [], said()).why == "not refused"


def test_a_score_counts_indexes_and_statements_apart() -> None:
    right = [frozenset([ONE])]
    graded = [
        grade(NEEDED, right, said(ONE)),
        grade(NEEDED, right, said(WIDE)),
        grade(NEEDED, right, said()),
        grade(NONE, [], said()),
        grade(NONE, [], said(OTHER)),
        grade(REFUSED, [], Said(refusal="no")),
    ]
    reached = score(graded)
    assert (reached.statements, reached.right) == (6, 3)
    assert reached.precision == pytest.approx(1 / 3)
    assert reached.recall == pytest.approx(1 / 3)
    assert (reached.left_alone, reached.refused) == (0.5, 1.0)
    assert score([]).precision is None
    assert Aims(precision=0.3, left_alone=0.98).missed(reached) == ["left_alone 0.500 is below 0.980"]
    assert Aims(precision=0.9).missed(score([])) == []


def test_orders_and_directions_are_spelled_out() -> None:
    assert any_order("t", "a", "b") == ("t (a, b)", "t (b, a)")
    assert either_way("t", ["a"], "b, c DESC") == ("t (a, b, c DESC)", "t (a, b DESC, c)")
    assert partial("t", "x", "a", "b") == ("t (a) WHERE x", "t (b) WHERE x")


@each_case(
    ("ddl", "spec"),
    [
        (
            'CREATE INDEX CONCURRENTLY "ix" ON "public"."t" USING btree ("a")',
            '"public"."t" USING btree ("a")',
        ),
        ("create index on t (a);", "t (a)"),
        ("CREATE INDEX IF NOT EXISTS ix ON ONLY t (a);\nCREATE INDEX CONCURRENTLY y ON t_1 (a)", "t (a)"),
    ],
)
def test_what_an_adviser_writes_is_read(ddl: str, spec: str) -> None:
    assert spec_of(ddl) == spec


@each_case("ddl", ["DROP INDEX x", "CREATE TABLE t ()", ""])
def test_other_words_are_no_index(ddl: str) -> None:
    with pytest.raises(NotAnIndex):
        spec_of(ddl)


def test_the_order_of_included_columns_does_not_matter() -> None:
    one, other = (f"CREATE INDEX x ON ONLY t USING btree (a) INCLUDE ({c})" for c in ("c, b", "b, c"))
    assert normal(one) == normal(other) == "t USING btree (a) INCLUDE (b, c)"


async def test_the_server_says_which_indexes_are_the_same(empty_postgres_url: str) -> None:
    connection = await asyncpg.connect(dsn(empty_postgres_url))
    try:
        await connection.execute('CREATE TABLE "T t" (a text NOT NULL, b int)')
        shapes = Shapes(connection)
        assert await shapes.of('"T t" (a) WHERE b IN (1, 2)') == await shapes.of(
            'public."T t" USING btree ("a" ASC NULLS LAST) WHERE (b = ANY (ARRAY[1, 2]))'
        )
        assert await shapes.of('"T t" (lower(a))') != await shapes.of('"T t" (a)')
        with pytest.raises(NotAnIndex, match="no_such"):
            await shapes.of('"T t" (no_such)')
        assert await connection.fetchval("SELECT count(*) FROM pg_indexes WHERE tablename = 'T t'") == 0
    finally:
        await connection.close()


@each_case("version", [150000, 180006])
def test_the_set_is_as_large_and_as_mixed_as_promised(version: int) -> None:
    chosen = cases(version)
    none = [one for one in chosen if not one.answers and not one.is_refused]
    asked = [one for one in chosen if not one.is_refused]
    assert len(asked) >= 100 <= sum(bool(one.answers) for one in chosen)
    assert 3 * len(none) >= len(asked)
    assert sum(one.is_refused for one in chosen) >= 12
    assert max(Counter(one.name for one in chosen).values()) == 1
    assert not any(one.is_refused and one.answers for one in SEEN)
    held_out = cases(version, held_out=True)
    assert len(held_out) >= 40
    assert not {one.sql for one in held_out} & {one.sql for one in chosen}
    assert cases(version, words=["lower()"]) == [one for one in chosen if one.kind == "lower()"]
