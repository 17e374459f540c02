"""All checks at a glance; each fails alone."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.builtin.db_monitor.schemas.slow_queries import SlowQueriesQuery
from app.builtin.db_monitor.service.board import Board
from app.builtin.db_monitor.service.both_sides import look_at_connections
from app.builtin.db_monitor.service.caches import Caches, look_at_caches
from app.builtin.db_monitor.service.slow_queries import SlowQueries, SlowQueryReport
from app.builtin.db_monitor.service.suggested import SUGGESTED, Suggested
from app.core.db import Database
from app.core.monitor import (
    Finding,
    MonitorServer,
    Panel,
    RepeatedReads,
    ServerFacts,
    SlowStatement,
    autovacuum,
    index_report,
    locks,
    ranked,
    replication,
    sequences,
    server_settings,
    table_sizes,
    wraparound,
)
from app.core.valkey import ValkeyClient


@dataclass(frozen=True, slots=True)
class Check:
    """One line. ``path`` is the page below the monitor's that says more; ``state``: critical, warning, info, ok, or unknown where there is
    no answer. ``words`` say what was found.
    """

    title: str
    path: str
    state: str
    words: str
    took_ms: float


@dataclass(frozen=True, slots=True)
class Costly:
    """A statement and what it takes of a day, in milliseconds, if the day is as the window was."""

    statement: SlowStatement
    ms_per_day: float


@dataclass(frozen=True, slots=True)
class Seen:
    """What all checks found, the worst first. ``costly`` are the statements that take most of a day."""

    facts: Panel[ServerFacts]
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    costly: tuple[Costly, ...]


# Catalogs, and counters since days ago, change slowly; a dashboard that refreshes must not be what the server is busy with.
_SLOW_S = 10.0


@dataclass(frozen=True, slots=True)
class _Question:
    title: str
    path: str
    name: Hashable
    ask: Callable[[], Awaitable[Any]]
    keep_s: float | None = _SLOW_S


class Overview:
    """Asks the same questions as the pages, under the same names, so that a page which was just seen costs nothing here."""

    def __init__(
        self,
        server: MonitorServer,
        database: Database,
        store: ValkeyClient,
        *,
        caches: Caches,
        slow: SlowQueries,
        repeats: RepeatedReads,
    ) -> None:
        self._server = server
        self._database = database
        self._store = store
        self._caches = caches
        self._slow = slow
        self._repeats = repeats

    async def look(self, board: Board) -> Seen:
        """One line a check, and what would help most."""
        questions = self._questions()
        facts, *panels = await asyncio.gather(
            board.look("facts", self._server.facts),
            *(board.look(it.name, it.ask, keep_s=it.keep_s) for it in questions),
        )
        repeats = Panel([each.finding for each in self._repeats.get_repeats()], None, 0.0)
        checks = [_check(it, panel) for it, panel in zip(questions, panels, strict=True)]
        checks.insert(2, _suggested(board.known(SUGGESTED)))
        checks.append(_told("Repeated reads", "/n-plus-one", repeats.value or [], 0.0))
        found = ranked([it for panel in (*panels, repeats) for it in _findings(panel)])
        return Seen(
            facts,
            tuple(checks),
            tuple(found),
            _costly(panels[0].value),
        )

    def _questions(self) -> tuple[_Question, ...]:
        put, slow = self._server.put, SlowQueriesQuery()
        return (
            _Question("Statements", "/queries", ("queries",), lambda: self._slow.report(slow)),
            _Question("Indexes", "/indexes", "indexes", lambda: put(index_report)),
            _Question("Tables", "/tables", ("tables", 1), lambda: put(table_sizes)),
            _Question("Connections", "/connections", "connections", self._connections, None),
            _Question("Locks", "/connections", "locks", lambda: put(locks), None),
            _Question("Cache", "/cache", "caches", self._look_at_caches),
            _Question("Vacuum", "/server", "autovacuum", lambda: put(autovacuum)),
            _Question("Transaction numbers", "/server", "wraparound", lambda: put(wraparound)),
            _Question("Sequences", "/server", "sequences", lambda: put(sequences)),
            _Question("Replication", "/server", "replication", lambda: put(replication)),
            _Question("Settings", "/server", "settings", lambda: put(server_settings)),
        )

    async def _connections(self) -> Any:
        return await look_at_connections(self._server, self._database)

    async def _look_at_caches(self) -> Any:
        return await look_at_caches(self._server, self._caches, self._store)


def _findings(panel: Panel[Any]) -> Sequence[Finding]:
    if panel.value is None:
        return ()
    return panel.value if isinstance(panel.value, list) else panel.value.findings


def _check(question: _Question, panel: Panel[Any]) -> Check:
    if panel.value is None:
        return Check(question.title, question.path, "unknown", panel.reason or "No answer", panel.took_ms)
    missing: Mapping[str, str] = getattr(panel.value, "unavailable", {})
    if missing and not panel.value.findings:
        words = "; ".join(f"{part}: {reason}" for part, reason in missing.items())
        return Check(question.title, question.path, "unknown", words, panel.took_ms)
    return _told(question.title, question.path, panel.value.findings, panel.took_ms)


def _told(title: str, path: str, findings: Sequence[Finding], took_ms: float) -> Check:
    if not findings:
        return Check(title, path, "ok", "Nothing to remark", took_ms)
    first = ranked(findings)[0]
    more = f", and {len(findings) - 1} more" if len(findings) > 1 else ""
    return Check(title, path, first.severity, first.title + more, took_ms)


def _suggested(known: Panel[Suggested] | None) -> Check:
    """Of what was computed already: a page that is there at once does not wait for the planner."""
    title, path = "Missing indexes", "/indexes"
    if known is None:
        return Check(title, path, "unknown", "Not looked at in the last minutes: open it to do so", 0.0)
    if known.value is None:
        return Check(title, path, "unknown", known.reason or "No answer", known.took_ms)
    count = len(known.value.advice.indexes)
    words = (
        f"{count} would make the slowest statements cheaper"
        if count
        else "None would help the slowest statements"
    )
    return Check(title, path, "warning" if count else "ok", words, known.took_ms)


def _costly(report: SlowQueryReport | None, most: int = 3) -> tuple[Costly, ...]:
    """By what they would take of a day; none where nobody knows since when the counters count."""
    per_day = report.counted.per_day if report is not None and report.counted is not None else None
    if report is None or per_day is None:
        return ()
    return tuple(Costly(it, it.use.total_us / 1000 * per_day) for it in report.statements[:most])
