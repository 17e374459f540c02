from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.builtin.db_monitor.service.counted import Counted
from app.core.monitor import StatementUse

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
TWO_HOURS = Counted(
    since=NOON - timedelta(hours=2),
    until=NOON,
    is_complete=True,
    covered=timedelta(hours=2),
    covered_percent=100 * 2 / 24,
    hidden=0,
    total=StatementUse(),
    uses={},
)


def test_a_day_is_as_the_time_that_was_sampled_and_not_as_the_window() -> None:
    assert TWO_HOURS.per_day == 12
    assert replace(TWO_HOURS, covered=timedelta(hours=1)).per_day == 24
    assert replace(TWO_HOURS, covered=timedelta(0)).per_day is None
    assert replace(TWO_HOURS, covered=None).per_day is None
