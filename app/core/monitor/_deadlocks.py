"""The daily question whether there were deadlocks."""

from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import func, select

from app.core.db import AsyncSession, Database, EventLog, get_db_context
from app.core.monitor._server import MonitorServer
from app.core.monitor._server_counters import ServerCounters, server_counters
from app.core.observability import tell_server_counters

KIND = "database.deadlocks"
_DAY_S = 86_400.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeadlockReport:
    """Deadlocks ``new`` since the last audit, ``hours`` ago; None for both when this is the first. ``total`` is the server's count."""

    total: int
    new: int | None
    hours: float | None

    @property
    def per_day(self) -> float:
        """New ones, as if the time since the last audit were a day; 0 for the first audit."""
        return 24 * self.new / self.hours if self.new and self.hours else 0.0


class DeadlockAudit:
    """Counts deadlocks from day to day. What the last audit found is a row of the events log, so a restart or another process goes on
    where it ended.

    ``look`` keeps the metrics ``gatehouse_database_deadlocks`` and ``gatehouse_database_transaction_age``: for every process, every few
    minutes. ``audit`` logs ``database.deadlocks``: call it more often than daily, in one process of all; it does nothing until
    ``every_s`` seconds after the last. Raises what the server raises.
    """

    def __init__(self, server: MonitorServer, database: Database, *, every_s: float = _DAY_S) -> None:
        self._server = server
        self._database = database
        self._every_s = every_s

    async def look(self) -> ServerCounters:
        """Ask the server, and tell the metrics."""
        found = await self._server.put(server_counters)
        tell_server_counters(found.database, deadlocks=found.deadlocks, transaction_age=found.transaction_age)
        return found

    async def audit(self) -> DeadlockReport | None:
        """The deadlocks since the last audit; None when that was less than ``every_s`` ago."""
        found = await self.look()
        async with get_db_context(self._database) as session:
            last = await _last(session, found.database)
            if last is not None and last[1] < self._every_s:
                return None
            report = _compared(found, last)
            session.add(EventLog(kind=KIND, subject=found.database[:200], data=_stored(found)))
        tell = _log.warning if report.new else _log.info
        tell(
            KIND,
            database=found.database,
            new=report.new,
            total=report.total,
            per_day=round(report.per_day, 1),
        )
        return report


async def _last(session: AsyncSession, database: str) -> tuple[dict[str, object], float] | None:
    """What the last audit stored, and how many seconds ago."""
    age = func.extract("epoch", func.clock_timestamp() - EventLog.created_at)
    query = (
        select(EventLog.data, age)
        .where(EventLog.kind == KIND, EventLog.subject == database[:200])
        .order_by(EventLog.created_at.desc())
        .limit(1)
    )
    row = (await session.execute(query)).one_or_none()
    return (row[0], float(row[1])) if row is not None else None


def _stored(found: ServerCounters) -> dict[str, object]:
    return {"total": found.deadlocks, "since": _text(found.stats_reset)}


def _compared(found: ServerCounters, last: tuple[dict[str, object], float] | None) -> DeadlockReport:
    if last is None:
        return DeadlockReport(found.deadlocks, None, None)
    stored, age_s = last
    before = stored.get("total")
    counts_on = stored.get("since") == _text(found.stats_reset) and isinstance(before, int)
    # After a reset, or a crash of the server, all that it knows of are new.
    known = before if counts_on and isinstance(before, int) and before <= found.deadlocks else 0
    return DeadlockReport(found.deadlocks, found.deadlocks - known, age_s / 3600)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
