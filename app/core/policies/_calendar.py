"""Calendar periods in a time zone, by the server's clock."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from app.core.policies._quota import Period


class Window(NamedTuple):
    """A period: its name as it stands in keys, and its bounds in ms since the epoch. ``end_ms`` is the next one's start."""

    name: str
    start_ms: int
    end_ms: int


def window_at(now_ms: int, per: Period, time_zone: str) -> Window:
    """The day or month that ``now_ms`` falls into where the account lives. A day may have 23 or 25 hours."""
    window = _last.get((per, time_zone))
    if window is None or not window.start_ms <= now_ms < window.end_ms:
        window = _last[(per, time_zone)] = _window(now_ms, per, time_zone)
    return window


_last: dict[
    tuple[str, str], Window
] = {}  # one entry per zone in use: most requests fall into the same window


def _window(now_ms: int, per: Period, time_zone: str) -> Window:
    zone = _zone(time_zone)
    local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone)
    first = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if per == "month":
        first = first.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1) if per == "month" else first + timedelta(days=1)
    return Window(f"{first:%Y-%m-%d}", _ms(first), _ms(following))


def _ms(moment: datetime) -> int:
    # Midnight that a clock change skips is read with the offset before it, which is the moment at which the day begins.
    return int(moment.timestamp() * 1000)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
