from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import isclose, sqrt
from statistics import pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.monitor import StatementKey, StatementRow, StatementSnapshot, StatementUse, statement_deltas
from app.core.monitor._statement_deltas import total_use
from app.core.monitor._statement_use import COUNTED

BORN = datetime(2026, 11, 1, tzinfo=UTC)
counts = st.integers(0, 2**40)
uses = st.builds(
    StatementUse,
    **dict.fromkeys(COUNTED, counts),
    squares_ms2=st.floats(0, 1e12),
    max_us=st.integers(0, 10**9),
)
keys = st.builds(StatementKey, st.integers(1, 2), st.just(5), st.integers(-3, 3).filter(bool), st.booleans())


def snapshot(
    rows: Mapping[StatementKey, StatementRow], minute: int = 0, dealloc: int = 0
) -> StatementSnapshot:
    return StatementSnapshot(BORN + timedelta(minutes=minute), BORN, dealloc, 0, rows)


def counted(use: StatementUse) -> tuple[int, ...]:
    return tuple(getattr(use, name) for name in COUNTED)


def ran(use: StatementUse) -> bool:
    return bool(use.calls or use.plans)


@settings(max_examples=30)
@given(st.dictionaries(keys, st.lists(uses, min_size=3, max_size=3), max_size=3))
def test_deltas_of_intervals_add_up_to_the_whole(steps: dict[StatementKey, list[StatementUse]]) -> None:
    def at(index: int) -> StatementSnapshot:
        return snapshot(
            {key: StatementRow(total_use(parts[: index + 1]), BORN) for key, parts in steps.items()}, index
        )

    first, second = statement_deltas(at(0), at(1)), statement_deltas(at(1), at(2))
    whole = statement_deltas(at(0), at(2))
    assert first.is_complete
    assert second.is_complete
    assert not first.restarted
    for key, parts in steps.items():
        for found, part in ((first, parts[1]), (second, parts[2])):
            assert (key in found.uses) is ran(part)
            if ran(part):
                assert counted(found.uses[key]) == counted(part)
        together = total_use(
            found.uses[key]
            for found in (first, second)
            if key in found.uses and ran(parts[1]) and ran(parts[2])
        )
        if ran(parts[1]) and ran(parts[2]):
            assert counted(together) == counted(whole.uses[key])
    assert counted(whole.total) == counted(
        total_use(use for parts in steps.values() for use in parts[1:] if ran(parts[1] + parts[2]))
    )


@settings(max_examples=30)
@given(st.dictionaries(keys, st.tuples(uses, uses), min_size=1, max_size=3), st.booleans())
def test_whatever_the_server_did_no_counter_is_negative(
    pairs: dict[StatementKey, tuple[StatementUse, StatementUse]], is_reset: bool
) -> None:
    before = snapshot({key: StatementRow(pair[0], None) for key, pair in pairs.items()})
    after = snapshot({key: StatementRow(pair[1], None) for key, pair in pairs.items()}, 1)
    if is_reset:
        after = replace(after, stats_reset=after.at)
    found = statement_deltas(before, after)
    for key, use in found.uses.items():
        assert min(counted(use)) >= 0
        assert use.squares_ms2 >= 0
        assert use.max_us >= 0
        assert all(part <= now for part, now in zip(counted(use), counted(pairs[key][1]), strict=True))
    if is_reset:
        assert not found.is_complete
        assert all(found.uses[key] == pairs[key][1] for key in found.uses)


KEY, OTHER = StatementKey(1, 5, 7, True), StatementKey(1, 5, 8, True)
TEN, TWELVE = StatementUse(calls=10, exec_us=900), StatementUse(calls=12, exec_us=1_000)


@pytest.mark.parametrize(
    ("before", "after", "calls"),
    [
        pytest.param(StatementRow(TEN, BORN), StatementRow(TWELVE, BORN), 2, id="the same entry later"),
        pytest.param(
            StatementRow(TEN, BORN), StatementRow(TWELVE, BORN + timedelta(1)), 12, id="another since"
        ),
        pytest.param(StatementRow(TWELVE, None), StatementRow(TEN, None), 10, id="calls went back"),
        pytest.param(
            StatementRow(TEN, None),
            StatementRow(replace(TWELVE, exec_us=899), None),
            12,
            id="only the time went back",
        ),
    ],
)
def test_an_entry_that_began_anew_counts_whole(before: StatementRow, after: StatementRow, calls: int) -> None:
    found = statement_deltas(snapshot({KEY: before}), snapshot({KEY: after}, 1))
    assert found.uses[KEY].calls == calls
    assert found.is_complete is (KEY not in found.restarted) is (calls == 2)


def test_what_was_thrown_away_makes_it_incomplete_and_what_is_new_does_not() -> None:
    ten = StatementRow(TEN, BORN)
    assert statement_deltas(snapshot({}), snapshot({KEY: ten}, 1)).is_complete
    assert statement_deltas(snapshot({}), snapshot({KEY: ten}, 1)).uses == {KEY: TEN}
    assert not statement_deltas(snapshot({KEY: ten, OTHER: ten}), snapshot({KEY: ten}, 1)).is_complete
    assert not statement_deltas(snapshot({KEY: ten}), snapshot({KEY: ten}, 1, dealloc=1)).is_complete


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 10**7), min_size=1, max_size=20),
    st.lists(st.integers(1, 10**7), min_size=1, max_size=20),
)
def test_mean_and_deviation_of_an_interval_are_those_of_its_executions(
    earlier: list[int], later: list[int]
) -> None:
    def use(times: list[int]) -> StatementUse:
        squares = sum((time / 1000) ** 2 for time in times)
        return StatementUse(calls=len(times), exec_us=sum(times), squares_ms2=squares, max_us=max(times))

    part = use(earlier + later) - use(earlier)
    milliseconds = [time / 1000 for time in later]
    assert isclose(part.mean_ms, sum(milliseconds) / len(milliseconds))
    # Cancellation: what is left of the squares is exact to a part of what was before.
    exact = 1e-5 * sqrt(use(earlier + later).squares_ms2)
    assert isclose(part.stddev_ms, pstdev(milliseconds), abs_tol=exact + 1e-6)
    assert part.max_us <= max(later)
    if max(later) > max(earlier):
        assert part.max_us == max(later)
