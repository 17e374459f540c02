"""Times at which a job runs by itself: five fields of cron, in a time zone."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from app.core.errors import ConfigurationError

_MINUTE = timedelta(minutes=1)


class Cron:
    """``expression``: minute, hour, day of month, month, day of week, as Debian's cron reads them, with its rules for the hours that
    daylight saving time skips and repeats. ``time_zone``: an IANA name. Raises ConfigurationError for what is neither.
    """

    def __init__(self, expression: str, time_zone: str = "UTC") -> None:
        self.expression = expression
        try:
            self._zone = ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ConfigurationError(
                f"{time_zone!r} is no time zone (IANA name such as Europe/Vienna)"
            ) from None
        if len(expression.split()) != 5:
            raise ConfigurationError(f"{expression!r} is no time of cron: five fields")
        try:
            CronSim(expression, datetime.now(self._zone))
        except CronSimError as error:
            raise ConfigurationError(f"{expression!r} is no time of cron: {error}") from None

    def last(self, until: datetime, *, within: timedelta) -> datetime | None:
        """The last of its times up to and including ``until``, if that is no longer ago than ``within``. Times have a zone."""
        # It looks for times before the one it is given.
        found = next(CronSim(self.expression, (until + _MINUTE).astimezone(self._zone), reverse=True), None)
        while found is not None and found > until:
            found = next(CronSim(self.expression, found, reverse=True), None)
        return found if found is not None and found >= until - within else None
