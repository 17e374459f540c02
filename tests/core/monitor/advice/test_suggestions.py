from dataclasses import replace

from app.core.monitor.advice import Suggestion, findings_of
from app.core.monitor.advice._expressions import Column
from app.core.monitor.advice._indexes import Index
from app.core.monitor.advice._reading import read
from app.core.monitor.advice._suggestions import Advice
from app.core.monitor.advice._tables import TableFacts, bare
from app.core.monitor.advice._ways import Key
from app.core.monitor.advice._workload import WorkloadIndex, merged_indexes
from tests.core.monitor.advice.facts import existing, table


def key(name: str) -> Key:
    return Key(Column(None, name))


def suggestion(facts: TableFacts, *keys: Key, equals: int = 1, where: str | None = None) -> Suggestion:
    predicate = () if where is None else (bare(read(where)),)
    return Suggestion(
        facts=facts,
        index=Index("btree", keys, predicate=predicate),
        reason="a reason",
        cost_before=1000.0,
        cost_after=10.0,
        verified="estimated",
        equals=equals,
    )


class TestTheStatementsOfASuggestion:
    def test_names_are_quoted_and_writes_go_on(self) -> None:
        one = suggestion(replace(table(), name='or"ders'), key("Created At"))
        assert one.ddl == (
            'CREATE INDEX CONCURRENTLY "ix_or""ders_Created At" ON "public"."or""ders" USING btree ("Created At")',
        )

    def test_directions_classes_expressions_and_conditions_are_named(self) -> None:
        keys = (
            Key(read("lower(name)"), "text_pattern_ops"),
            Key(Column(None, "a"), is_descending=True),
            Key(Column(None, "b"), nulls_first=True),
        )
        one = suggestion(table(), *keys, where="(o.status <> 'done'::text)")
        assert one.columns == ('(lower("name")) text_pattern_ops', '"a" DESC', '"b" NULLS FIRST')
        assert one.predicate == """("status" <> ('done')::text)"""

    def test_a_list_of_values_is_written_out(self) -> None:
        one = suggestion(table(), key("a"), where="(o.s <> ALL ('{x,y}'::text[]))")
        assert one.predicate == """("s" <> ALL (ARRAY[('x')::text, ('y')::text]))"""

    def test_a_partitioned_table_gets_a_recipe(self) -> None:
        first, *rest = suggestion(table(is_partitioned=True), key("a")).ddl
        assert first == 'CREATE INDEX "ix_orders_a" ON ONLY "public"."orders" USING btree ("a")'
        assert ["CONCURRENTLY" in rest[0], "ATTACH PARTITION" in rest[1]] == [True, True]

    def test_for_alembic_it_is_outside_of_a_transaction(self) -> None:
        text = suggestion(table(), key("a")).alembic
        compile(text, "a migration", "exec")
        assert text.startswith(
            "with op.get_context().autocommit_block():\n    op.create_index('ix_orders_a', 'orders'"
        )
        assert "postgresql_concurrently=True" in text

    def test_no_name_is_taken_twice_and_none_is_too_long(self) -> None:
        plain = suggestion(table(), key("a")).name
        taken = suggestion(table(existing(plain, "b")), key("a")).name
        long = suggestion(table(), key("x" * 80)).name
        partial = suggestion(table(), key("a"), where="(o.b IS NULL)").name
        assert len({plain, taken, long, partial}) == 4
        assert max(len(it.encode()) for it in (plain, taken, long, partial)) <= 60


class TestAWorkload:
    def test_an_index_that_another_begins_with_is_not_made_twice(self) -> None:
        wide = WorkloadIndex(suggestion(table(), key("a"), key("b")), (1,), 10.0)
        narrow = WorkloadIndex(suggestion(table(), key("a")), (2,), 5.0)
        (both,) = merged_indexes([narrow, wide])
        assert (both.suggestion.columns, both.statements, both.saved_ms) == (('"a"', '"b"'), (1, 2), 15.0)

    def test_equalities_change_places_where_that_serves_two(self) -> None:
        wide = WorkloadIndex(suggestion(table(), key("a"), key("b"), key("c"), equals=2), (1,), 1.0)
        narrow = WorkloadIndex(suggestion(table(), key("b")), (2,), 1.0)
        (both,) = merged_indexes([wide, narrow])
        assert both.suggestion.columns == ('"b"', '"a"', '"c"')

    def test_once_a_place_is_needed_it_is_not_given_to_another(self) -> None:
        wide = WorkloadIndex(suggestion(table(), key("a"), key("b"), equals=2), (1,), 1.0)
        one = WorkloadIndex(suggestion(table(), key("a")), (2,), 1.0)
        other = WorkloadIndex(suggestion(table(), key("b")), (3,), 1.0)
        found = merged_indexes([wide, one, other])
        assert sorted(it.suggestion.columns for it in found) == [('"a"', '"b"'), ('"b"',)]

    def test_ranges_partial_indexes_and_other_tables_stay_apart(self) -> None:
        ranged = WorkloadIndex(suggestion(table(), key("a"), key("b"), equals=1), (1,), 1.0)
        second = WorkloadIndex(suggestion(table(), key("b")), (2,), 1.0)
        partial = WorkloadIndex(suggestion(table(), key("a"), where="(o.b IS NULL)"), (3,), 1.0)
        elsewhere = WorkloadIndex(suggestion(replace(table(), oid=2), key("a")), (4,), 1.0)
        assert len(merged_indexes([ranged, second, partial, elsewhere])) == 4

    def test_what_writing_costs_is_named_where_it_is_known(self) -> None:
        assert WorkloadIndex(suggestion(table(), key("a")), (1,), 1.0).write_bytes_per_day is None
        one = WorkloadIndex(suggestion(table(writes_per_day=1000.0), key("a")), (1,), 1.0)
        assert 8_000 < (one.write_bytes_per_day or 0) < 60_000


def test_as_findings_the_gain_and_how_it_is_known_are_said() -> None:
    (finding,) = findings_of(Advice((suggestion(table(), key("a")),), (), (), 1000.0, False))
    assert (finding.check, finding.severity, finding.subject) == ("advice.index", "warning", "public.orders")
    assert "100.0 times" in finding.title
    assert "not verified" in finding.evidence
    assert finding.ddl[0].startswith("CREATE INDEX CONCURRENTLY")
