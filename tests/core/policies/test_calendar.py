"""Calendar periods follow each other without a gap, also where clocks change at midnight or a day is left out."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import get_args

from app.core.policies import Window, window_at
from app.core.policies._quota import Period
from tests.cases import each_case

HOUR = timedelta(hours=1)
# A clock change that leaves midnight out, one that has it twice, one of half an hour, and a day that never was.
TURNS = [
    ("Africa/Cairo", "2024-04-26"),
    ("America/Havana", "2024-11-03"),
    ("Australia/Lord_Howe", "2024-10-06"),
    ("Pacific/Apia", "2011-12-30"),
    ("Europe/Vienna", "2024-03-31"),
    ("UTC", "2024-02-29"),
]


def windows(zone: str, day: str, per: Period) -> list[Window]:
    """Those of every half hour of twenty days before and after, the earliest first, each once."""
    noon = datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC)
    moments = [noon + i * HOUR / 2 for i in range(-960, 960)]
    found = []
    for moment in moments:
        now_ms = int(moment.timestamp() * 1000)
        window = window_at(now_ms, per, zone)
        assert window.start_ms <= now_ms < window.end_ms
        found.append(window)
    return list(dict.fromkeys(found))


@each_case("per", get_args(Period))
@each_case(("zone", "day"), TURNS)
def test_each_period_begins_where_the_one_before_ends(zone: str, day: str, per: Period) -> None:
    found = windows(zone, day, per)
    assert len(found) >= 2
    assert all(former.end_ms == later.start_ms for former, later in pairwise(found))
    names = [window.name for window in found]
    assert names == sorted(set(names))


@each_case(
    ("zone", "day", "hours"),
    [
        ("Africa/Cairo", "2024-04-26", 23),
        ("America/Havana", "2024-11-03", 25),
        ("Australia/Lord_Howe", "2024-10-06", 23.5),
    ],
)
def test_a_day_of_a_clock_change_is_as_long_as_it_is(zone: str, day: str, hours: float) -> None:
    window = next(window for window in windows(zone, day, "day") if window.name == day)
    assert (window.end_ms - window.start_ms) / 3_600_000 == hours


def test_a_day_that_was_left_out_has_no_period() -> None:
    names = [window.name for window in windows("Pacific/Apia", "2011-12-30", "day")]
    assert "2011-12-30" not in names
    assert {"2011-12-29", "2011-12-31"} <= set(names)
