"""The burn order, against counting entry by entry."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.builtin.credits.repository import Lot, Spending
from app.builtin.credits.service import what_is_left
from app.builtin.credits.service.burn import burn_order
from tests.cases import each_case

SOON, LATER = (datetime(2030, 1, day, tzinfo=UTC) for day in (1, 2))


def lot(
    number: int, micro: int = 10, *, priority: int = 0, paid: bool = False, expires: datetime | None = None
) -> Lot:
    return Lot(UUID(int=number), number, micro, priority, paid, expires)


def left(lots: list[Lot], *spendings: tuple[int, int], burned: int = 0) -> list[int]:
    found = what_is_left(lots, [Spending(*spending) for spending in spendings], burned)
    return [found[one.id] for one in lots]


@each_case(
    ("first", "second"),
    [
        (lot(2, priority=0), lot(1, priority=1, expires=SOON)),
        (lot(2, expires=SOON), lot(1, expires=LATER)),
        (lot(2, expires=LATER), lot(1)),
        (lot(2), lot(1, paid=True)),
        (lot(2, paid=True, expires=SOON), lot(1)),
        (lot(1), lot(2)),
    ],
)
def test_of_two_the_first_is_spent_before_the_second(first: Lot, second: Lot) -> None:
    assert left([first, second], (2, 12)) == [0, 8]


def test_a_grant_cannot_pay_for_what_was_spent_before_it() -> None:
    assert left([lot(1), lot(3, expires=SOON)], (1, 4), (3, 1)) == [6, 9]


def test_what_was_counted_before_is_there_from_the_beginning() -> None:
    assert left([lot(1), lot(3, expires=SOON)], (0, 4), burned=5) == [10, 6]


def test_without_spending_all_is_left() -> None:
    assert left([lot(1), lot(2)]) == [10, 10]
    assert left([]) == []


def test_more_than_there_was_cannot_have_been_spent() -> None:
    with pytest.raises(ValueError, match="2 micro-credits more"):
        left([lot(1)], (1, 12))


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.integers(1, 50), st.integers(0, 2), st.booleans(), st.sampled_from([None, *range(4)])
            ),
            st.integers(0, 40),
        ),
        max_size=20,
    )
)
def test_sums_between_grants_count_like_single_entries(
    steps: list[tuple[int, int, bool, int | None] | int],
) -> None:
    lots: list[Lot] = []
    by_entry: dict[UUID, int] = {}
    spendings: list[Spending] = []
    for version, step in enumerate(steps, start=1):
        if isinstance(step, tuple):
            micro, priority, paid, day = step
            expires = None if day is None else SOON + timedelta(days=day)
            lots.append(lot(version, micro, priority=priority, paid=paid, expires=expires))
            by_entry[lots[-1].id] = micro
            spendings.append(Spending(version, 0))
            continue
        rest = min(step, sum(by_entry.values()))  # a debit takes what there is
        if not spendings:
            spendings.append(Spending(0, 0))
        spendings[-1] = spendings[-1]._replace(micro=spendings[-1].micro + rest)
        for one in sorted(lots, key=burn_order):
            taken = min(rest, by_entry[one.id])
            by_entry[one.id] -= taken
            rest -= taken
    assert what_is_left(lots, spendings, 0) == by_entry
