"""Times at which jobs run by themselves."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import ConfigurationError
from app.core.jobs import Cron, id_at
from tests.cases import each_case

HOUR = timedelta(hours=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@each_case(
    "expression, zone, until, last",
    [
        ("*/5 * * * *", "UTC", "2026-11-22 10:05:00", "2026-11-22 10:05:00"),
        ("*/5 * * * *", "UTC", "2026-11-22 10:04:59", "2026-11-22 10:00:00"),
        ("*/5 * * * *", "UTC", "2026-11-22 10:05:01", "2026-11-22 10:05:00"),
        ("0 3 * * *", "UTC", "2026-11-22 10:05:00", None),
        ("0 11 * * *", "Europe/Vienna", "2026-11-22 10:30:00", "2026-11-22 10:00:00"),
        ("0 9 * * MON", "UTC", "2026-11-23 09:59:00", "2026-11-23 09:00:00"),
        # Summer time skips this one: it runs right after.
        ("30 2 * * *", "Europe/Vienna", "2026-03-29 01:20:00", "2026-03-29 01:00:00"),
        ("0 0 29 2 *", "UTC", "2026-11-22 10:00:00", None),
    ],
)
def test_the_last_time_is_found(expression: str, zone: str, until: str, last: str | None) -> None:
    expected = at(last) if last is not None else None
    assert Cron(expression, zone).last(at(until), within=HOUR) == expected


@pytest.mark.parametrize(
    ("expression", "zone"),
    [("* * * *", "UTC"), ("61 * * * *", "UTC"), ("* * * * * *", "UTC"), ("hourly", "UTC"), ("* * * * *", "Mars/Base")],
)  # fmt: skip
def test_what_is_no_time_is_refused(expression: str, zone: str) -> None:
    with pytest.raises(ConfigurationError):
        Cron(expression, zone)


@given(st.integers(min_value=1_000_000_000, max_value=4_000_000_000))
def test_a_time_gives_one_id_that_is_a_version_7_uuid_of_it(seconds: int) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    one = id_at("report", moment)
    assert one == id_at("report", moment)
    assert one != id_at("other", moment)
    assert (one.version, one.int >> 80) == (7, int(moment.timestamp() * 1000))
