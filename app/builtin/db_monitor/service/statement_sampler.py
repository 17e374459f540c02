"""Who keeps the history of statements."""

from collections.abc import Iterable
from datetime import timedelta

import structlog

from app.builtin.db_monitor.repository import NewText, StatementHistory
from app.core.db import Database, DatabaseReadOnly, get_db_context
from app.core.monitor import (
    STATEMENTS_EXTENSION,
    Asked,
    MonitorDenied,
    MonitorServer,
    NotSupported,
    StatementDeltas,
    StatementKey,
    StatementSnapshot,
    is_noise,
    query_origin,
    redacted,
    statement_deltas,
    statement_snapshot,
    statement_texts,
)

TOP = 200
_CANDIDATES = 2 * TOP
_LONGEST_INTERVAL = timedelta(hours=1)
_log = structlog.get_logger(__name__)


class StatementSampler:
    """Writes, every time it is called, what statements cost since the last time; nothing is ever reset at the server.

    The counters of the last time are kept in this process, some megabytes at most: a process that takes over the lead begins anew, so that
    at most one interval is lost, and so does one that finds that another has written meanwhile. What it cannot write is written the next
    time. Where it cannot work at all (a standby, a read-only database, no extension or no right to it) it says so once and waits.
    """

    def __init__(self, server: MonitorServer, database: Database, *, months: int) -> None:
        self._server = server
        self._database = database
        self._months = months
        self._before: StatementSnapshot | None = None
        self._kept: set[int] = set()
        self._noise: set[int] = set()
        self._told = ""

    async def sample(self) -> int:
        """Write one sample for each of the 200 statements that took most time since the last run, and one of all together; how many rows.

        Raises MonitorError when the server does not answer, and a DatabaseError.
        """
        try:
            return await self._sample()
        except (NotSupported, MonitorDenied) as error:
            return self._skipped(error.detail or STATEMENTS_EXTENSION)
        except DatabaseReadOnly:
            return self._skipped("the database is read-only")

    async def keep(self) -> None:
        """Make the partitions of the next months, and drop what is too old. Raises a DatabaseError."""
        facts = await self._server.facts()
        if facts.is_standby:
            return
        # Texts may go here, and whatever runs is looked at once an hour: so neither set is wrong, or large, for longer.
        self._kept.clear()
        self._noise.clear()
        try:
            async with get_db_context(self._database) as session:
                await StatementHistory(session).keep(self._months)
        except DatabaseReadOnly:
            self._skipped("the database is read-only")

    async def _sample(self) -> int:
        facts = await self._server.facts()
        if facts.is_standby:
            return self._skipped("the server is a standby")
        texts: list[NewText] = []
        top: list[StatementKey] = []
        found = None
        async with self._server.ask(statement_timeout_ms=5_000, budget_s=15) as asked:
            after, before = await statement_snapshot(asked), self._before
            if before is not None and after.at - before.at <= _LONGEST_INTERVAL:
                found = statement_deltas(before, after)
                texts = await self._look_at(asked, found)
                top = self._top(found)
        written = 0 if found is None else await self._write(found, top, texts)
        self._before, self._told = after, ""
        return written

    async def _look_at(self, asked: Asked, found: StatementDeltas) -> list[NewText]:
        """Read the texts that are not kept yet, or that may be others now; those that are worth keeping."""
        done = self._kept | self._noise
        wanted = {
            key.queryid for key in _heaviest(found) if key in found.restarted or key.queryid not in done
        }
        texts: list[NewText] = []
        if not wanted:
            return texts
        for queryid, text in (await statement_texts(asked, wanted)).items():
            if is_noise(text.text):
                self._noise.add(queryid)
                continue
            origin = query_origin(text.ending)
            route, policy = (origin.route, origin.policy) if origin else ("", "")
            texts.append(NewText(queryid, redacted(text.text), route, policy))
        return texts

    def _top(self, found: StatementDeltas) -> list[StatementKey]:
        return [key for key in _heaviest(found) if key.queryid not in self._noise][:TOP]

    async def _write(self, found: StatementDeltas, top: list[StatementKey], texts: Iterable[NewText]) -> int:
        ids = {key.queryid for key in top}
        new = [text for text in texts if text.queryid in ids]
        async with get_db_context(self._database) as session:
            history = StatementHistory(session)
            if await history.is_taken(found.since):
                return 0
            await history.put(found, top)
            await history.keep_texts(new, ids, found.until)
        self._kept |= {text.queryid for text in new}
        return len(top) + 1

    def _skipped(self, reason: str) -> int:
        self._before = None
        if reason != self._told:
            _log.warning("monitor.statements_not_sampled", reason=reason)
        self._told = reason
        return 0


def _heaviest(found: StatementDeltas) -> list[StatementKey]:
    return sorted(found.uses, key=lambda key: (-found.uses[key].total_us, key))[:_CANDIDATES]
