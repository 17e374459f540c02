"""The indexes that come into question."""

import pytest

from app.core.monitor.advice._expressions import Column
from app.core.monitor.advice._options import Option, Options, Shared
from app.core.monitor.advice._reading import read
from app.core.monitor.advice._readings import Join, Order, Reading, SortKey
from app.core.monitor.advice._ways import Key, Way
from tests.core.monitor.advice.facts import table

UNLIKE, SAME = read("(o.a <> 1)"), read("(o.b = x.b)")


def reading(*needed: str, order: Order | None = None) -> Reading:
    return Reading("o", table(), (UNLIKE,), (), order, frozenset(needed), 1000.0, is_aggregated=True)


def made(asked: Reading, way: Way, share: float) -> Option:
    first, *_ = Options(asked, [Shared(way, share)], 1.0, None).all()
    return first


@pytest.mark.parametrize(("needed", "is_covering"), [(("a",), True), (("a", "c"), False)])
def test_a_partial_index_spares_the_table_if_it_holds_all_that_is_needed(
    needed: tuple[str, ...], is_covering: bool
) -> None:
    option = made(reading(*needed), Way("rare", (Key(Column(None, "a")),), (UNLIKE,)), 0.02)
    assert option.indexes[0].predicate
    assert option.look.is_covering is is_covering


def test_only_what_a_join_finds_has_to_be_sorted() -> None:
    order = Order((SortKey(Column("o", "c"), False, False),), 20.0, 1000.0, frozenset({"o", "x"}))
    way = Way("equal", (Key(Column(None, "b")),), (SAME,), join=Join(SAME, 1.0))
    few, many = (made(reading("a", order=order), way, share) for share in (0.00001, 0.1))
    assert few.extra < 1 < many.extra
