from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.monitor._durations import Durations, PartedDurations, bucket_of

MILLISECONDS = st.lists(st.floats(min_value=0.01, max_value=3_600_000), min_size=1, max_size=60)


def histogram(milliseconds: list[float]) -> Durations:
    made = Durations()
    for each in milliseconds:
        made.add(each, bucket_of(each))
    return made


@settings(max_examples=50)
@given(MILLISECONDS, st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_a_percentile_is_within_five_percent_of_the_true_one(milliseconds: list[float], share: float) -> None:
    true = sorted(milliseconds)[max(1, ceil(share * len(milliseconds))) - 1]
    assert abs(histogram(milliseconds).percentile(share) - true) <= 0.05 * true


@settings(max_examples=50)
@given(MILLISECONDS, MILLISECONDS)
def test_two_added_up_are_one_of_all(first: list[float], second: list[float]) -> None:
    both, merged = histogram(first + second), histogram(first)
    merged.merge(histogram(second))
    assert (merged.count, merged.longest_ms) == (both.count, both.longest_ms)
    for share in (0.01, 0.5, 0.99):
        assert merged.percentile(share) == both.percentile(share)


def test_what_no_bucket_is_made_for_is_bounded_by_what_there_was() -> None:
    assert histogram([0.0, 0.0]).percentile(0.5) == 0.0
    assert histogram([1e9, 2e9, 3e9]).percentile(0.5) == 3e9
    assert Durations().percentile(0.5) == Durations().mean_ms == 0.0


def test_the_last_parts_of_time_are_told_apart_and_nothing_is_lost() -> None:
    parted = PartedDurations(3)
    assert (parted.mean_ms, parted.whole().count) == (0.0, 0)
    for part in range(10):
        parted.add(float(part), bucket_of(part), part)
    assert (parted.recent(9).count, parted.recent(9).total_ms) == (3, 7 + 8 + 9)
    assert (parted.recent(11).count, parted.recent(12).count) == (1, 0)
    parted.add(10.0, bucket_of(10), 20)
    assert (parted.whole().count, parted.total_ms, parted.mean_ms) == (11, 55, 5)
    assert (parted.whole().longest_ms, parted.recent(20).count) == (10, 1)
