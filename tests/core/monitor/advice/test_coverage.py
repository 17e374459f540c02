from app.core.monitor.advice._cost import Look
from app.core.monitor.advice._coverage import covering, replaced_by
from app.core.monitor.advice._expressions import Column
from app.core.monitor.advice._indexes import Index
from app.core.monitor.advice._options import Option
from app.core.monitor.advice._reading import read
from app.core.monitor.advice._tables import IndexFacts, TableFacts
from app.core.monitor.advice._ways import Key
from tests.core.monitor.advice.facts import column, existing, table


def wanted(*columns: str, include: tuple[str, ...] = ()) -> Index:
    return Index("btree", tuple(Key(Column(None, it)) for it in columns), include=include)


def found(there: TableFacts, index: Index, equals: int, *clauses: str) -> str | None:
    option = Option((index,), Look(0.01), equals=equals)
    it: IndexFacts | None = covering(option, index, there, [read(clause) for clause in clauses])
    return None if it is None else it.name


class TestAnIndexCovers:
    def test_what_it_begins_with(self) -> None:
        assert found(table(existing("x", "a", "b", "c")), wanted("a", "b"), 2) == "x"

    def test_equalities_in_any_order(self) -> None:
        assert found(table(existing("x", "b", "a", "c")), wanted("a", "b", "c"), 2) == "x"

    def test_no_range_in_front_of_an_equality(self) -> None:
        assert found(table(existing("x", "b", "a")), wanted("a", "b"), 1) is None

    def test_not_what_only_follows(self) -> None:
        assert found(table(existing("x", "a", "b")), wanted("b"), 1) is None

    def test_nothing_wider(self) -> None:
        assert found(table(existing("x", "a")), wanted("a", "b"), 2) is None

    def test_an_order_turned_round(self) -> None:
        assert found(table(existing("x", "a", descending=True)), wanted("a"), 0) == "x"

    def test_columns_carried_along_only_if_it_has_them(self) -> None:
        assert found(table(existing("x", "a")), wanted("a", include=("b",)), 1) is None
        assert found(table(existing("x", "a", include=("b",))), wanted("a", include=("b",)), 1) == "x"

    def test_as_a_partial_one_only_where_the_statement_has_its_condition(self) -> None:
        there = table(existing("x", "a", where="(b IS NULL)"))
        assert found(there, wanted("a"), 1) is None
        assert found(there, wanted("a"), 1, "(o.b IS NULL)") == "x"

    def test_one_equality_by_hash(self) -> None:
        there = table(existing("x", "a", method="hash"))
        assert found(there, wanted("a"), 1) == "x"
        assert found(there, wanted("a"), 0) is None

    def test_by_brin_what_lies_in_its_order_on_disk(self) -> None:
        brin = existing("x", "a", method="brin")
        assert found(table(brin, columns=(column("a", correlation=0.99),)), wanted("a"), 0) == "x"
        assert found(table(brin, columns=(column("a", correlation=0.2),)), wanted("a"), 0) is None

    def test_a_valid_one_comes_before_an_invalid_one(self) -> None:
        broken = existing("broken", "a", is_valid=False)
        assert found(table(broken), wanted("a"), 1) == "broken"
        assert found(table(broken, existing("whole", "a")), wanted("a"), 1) == "whole"


class TestANewIndexReplaces:
    def test_what_is_its_own_beginning(self) -> None:
        assert replaced_by(wanted("a", "b"), table(existing("x", "a"), existing("y", "b"))) == ("x",)

    def test_nothing_that_guards_or_is_partial(self) -> None:
        there = table(existing("x", "a", is_unique=True), existing("y", "a", where="(b IS NULL)"))
        assert replaced_by(wanted("a", "b"), there) == ()
