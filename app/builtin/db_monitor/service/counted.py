"""What statements cost as the server counts them: by itself, or as the history has it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.builtin.db_monitor.service.history_read import HistoryRead
from app.core.monitor import (
    Asked,
    SlowStatement,
    StatementUse,
    breathing,
    hidden_statements,
    share_percent,
    statement_marks,
    statement_snapshot,
)

_LEAST_COVERED = 90.0
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What all statements, and each by its id, cost from ``since`` (None: not told) until ``until``.

    is_complete: nothing was lost in that time. covered: the time that was counted (None: not told), covered_percent: of the window
    that was asked for. hidden: entries that may not be seen.
    """

    since: datetime | None
    until: datetime
    is_complete: bool
    covered: timedelta | None
    covered_percent: float
    hidden: int
    total: StatementUse
    uses: Mapping[int, StatementUse]

    @property
    def per_day(self) -> float | None:
        """What a cost is multiplied by to be that of a day, if the day is as the time that was sampled; None where that is not known."""
        seconds = self.covered.total_seconds() if self.covered is not None else 0.0
        return _DAY_S / seconds if seconds > 0 else None

    @property
    def doubts(self) -> tuple[str, ...]:
        """What to know before believing it."""
        sampled = f"Only {self.covered_percent:.0f} % of the window was sampled"
        lost = (
            "The numbers are incomplete: the server threw entries away (pg_stat_statements.max is small for so many statements),"
            " or somebody reset them"
        )
        is_sparse = self.covered_percent < _LEAST_COVERED
        return (sampled,) * is_sparse + (lost,) * (not self.is_complete)

    def statement(
        self, queryid: int, text: str, routes: tuple[str, ...], policies: tuple[str, ...]
    ) -> SlowStatement:
        """One of them; zeros if it did not run."""
        use = self.uses.get(queryid, StatementUse())
        share = share_percent(use, self.total)
        return SlowStatement(queryid, text, use, share, routes, policies, statement_marks(use, share))


async def counted_by_server(asked: Asked) -> Counted:
    """Since the server's counters were reset. Raises as ``statement_snapshot``."""
    found = await statement_snapshot(asked)
    total, uses = StatementUse(), dict[int, StatementUse]()
    async for key, row in breathing(found.rows.items()):
        total += row.use
        uses[key.queryid] = uses[key.queryid] + row.use if key.queryid in uses else row.use
    return Counted(
        since=found.stats_reset,
        until=found.at,
        is_complete=found.dealloc == 0,
        covered=found.at - found.stats_reset if found.stats_reset is not None else None,
        covered_percent=100.0,
        hidden=found.hidden,
        total=total,
        uses=uses,
    )


async def counted_by_history(
    asked: Asked, history: HistoryRead, window: timedelta, queryid: int | None = None
) -> Counted | None:
    """In the samples of the last ``window``; None when there are none. ``uses`` may be of ``queryid`` alone.

    Raises as ``hidden_statements``."""
    found = await history.window(window, queryid)
    if found is None:
        return None
    return Counted(
        since=found.since,
        until=found.until,
        is_complete=found.is_complete,
        covered=found.covered,
        covered_percent=min(100.0, 100.0 * (found.covered / window)),
        hidden=await hidden_statements(asked),
        total=found.total,
        uses=found.uses,
    )
