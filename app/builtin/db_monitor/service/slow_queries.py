"""Slow statements, by whoever knows of them: the server's counters, their history, and what this process measured."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from app.builtin.db_monitor.models.statement_samples import ALL_STATEMENTS
from app.builtin.db_monitor.repository import StatementHistory, StatementSeries
from app.builtin.db_monitor.schemas.slow_queries import WINDOWS, SlowQueriesQuery, Source, Window
from app.builtin.db_monitor.service.counted import Counted, counted_by_history, counted_by_server
from app.builtin.db_monitor.service.described import described, described_by_server, tables_of
from app.builtin.db_monitor.service.history_read import HistoryRead
from app.builtin.db_monitor.service.measured import by_text, measured_queries
from app.core.db import Database, get_read_db_context
from app.core.errors import NotFound
from app.core.monitor import (
    QUERYIDS,
    STATEMENTS_EXTENSION,
    Asked,
    Finding,
    Measured,
    MeasuredQuery,
    MonitorError,
    MonitorServer,
    NotSupported,
    SlowStatement,
    extension_missing,
    ranked,
    statement_findings,
    statements_in_order,
    texts_hidden,
)

_MOST_CANDIDATES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowQueryReport:
    """Statements by what they cost. ``window`` is the one that was answered: ``all`` where there is no history of what was asked for.

    counted: since when and how well the server's numbers count, None without them. statements: the server's. measured: this process's own,
    since it started. notes: what to know before believing it.
    """

    source: Source
    window: Window
    counted: Counted | None
    statements: Sequence[SlowStatement]
    measured: Sequence[MeasuredQuery]
    findings: Sequence[Finding]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementDetail:
    """One statement: what it cost in the window, over time, the tables that it uses, and what this process measured of it."""

    statement: SlowStatement
    window: Window
    counted: Counted
    first_seen: datetime | None
    last_seen: datetime | None
    tables: Sequence[str]
    series: StatementSeries
    measured: MeasuredQuery | None
    findings: Sequence[Finding]
    notes: Sequence[str]


class SlowQueries:
    """Answers for one database. ``measured``: who measures in this process, if anybody does."""

    def __init__(self, server: MonitorServer, database: Database, measured: Measured | None = None) -> None:
        self._server = server
        self._database = database
        self._measured = measured

    async def report(self, ask: SlowQueriesQuery) -> SlowQueryReport:
        """The statements that cost most. Where the server does not count them: what this process measured, and how to change that.

        A history that cannot be read is as none, and ``notes`` say so. Raises MonitorError and MonitorDenied.
        """
        if ask.source == "service":
            return self._own(ask)
        facts = await self._server.facts()
        missing = extension_missing(is_available=STATEMENTS_EXTENSION in facts.available)
        if not facts.has(STATEMENTS_EXTENSION):
            return self._own(ask, missing)
        try:
            return await self._counted(ask)
        except NotSupported as error:
            return self._own(ask, replace(missing, evidence=error.detail or missing.evidence))

    def _own(self, ask: SlowQueriesQuery, *findings: Finding) -> SlowQueryReport:
        notes = () if self._measured is not None else ("This process does not measure its statements",)
        return SlowQueryReport(
            source="service",
            window="all",
            counted=None,
            statements=(),
            measured=self._measured_queries(ask),
            findings=findings,
            notes=notes,
        )

    def _measured_queries(self, ask: SlowQueriesQuery) -> list[MeasuredQuery]:
        found = measured_queries(
            self._measured,
            sort=ask.sort,
            min_calls=ask.min_calls,
            min_mean_ms=ask.min_mean_ms,
            route=ask.route,
        )
        return found[: ask.limit]

    async def _counted(self, ask: SlowQueriesQuery) -> SlowQueryReport:
        async with self._both() as (asked, history):
            counted, window, notes = await _count(asked, history, ask.window)
            statements = await self._statements(asked, history, counted, ask)
        return SlowQueryReport(
            source="server",
            window=window,
            counted=counted,
            statements=statements,
            measured=() if ask.source == "server" else self._measured_queries(ask),
            findings=ranked([*statement_findings(statements, window=window), *texts_hidden(counted.hidden)]),
            notes=(*history.doubts, *notes),
        )

    @asynccontextmanager
    async def _both(self) -> AsyncIterator[tuple[Asked, HistoryRead]]:
        async with (
            self._server.ask(statement_timeout_ms=2_000, budget_s=5) as asked,
            get_read_db_context(self._database) as session,
        ):
            history = HistoryRead(session)
            await history.begin()
            yield asked, history

    async def _statements(
        self, asked: Asked, history: HistoryRead, counted: Counted, ask: SlowQueriesQuery
    ) -> list[SlowStatement]:
        """The first of those that are wanted and have a text; what is noise has none."""
        wanted = {queryid: use for queryid, use in counted.uses.items() if ask.wants(use)}
        order = statements_in_order(wanted, ask.sort)[:_MOST_CANDIDATES]
        known = await history.texts(order)
        # The history knows most of them already, and has no noise; the server reads all its texts from a file for the others.
        others = [queryid for queryid in order if queryid not in known]
        texts = await described_by_server(asked, others) if others else {}
        measured = by_text(measured_queries(self._measured))
        found: list[SlowStatement] = []
        for queryid in order:
            it = known.get(queryid) or texts.get(queryid)
            if it is None:
                continue
            full = described(it, measured.get(it.text))
            if ask.route is None or ask.route in full.routes:
                found.append(counted.statement(queryid, *full))
        return found[: ask.limit]

    async def trend(self, window: Window = "24h") -> StatementSeries:
        """All statements together over the window, by the history. Raises a DatabaseError."""
        async with get_read_db_context(self._database) as session:
            history = StatementHistory(session)
            await history.read_quickly()
            found = await history.series(ALL_STATEMENTS, WINDOWS[window])
        return StatementSeries(found.step, [(at, total, total) for at, _, total in found.points])

    async def one(self, queryid: int, window: Window = "24h") -> StatementDetail:
        """One statement of the server's counters, or of the history when they no longer have it.

        Raises NotFound for one that nobody knows, NotSupported where the server does not count, and as ``report``.
        """
        if queryid not in QUERYIDS:
            raise NotFound("There is no such statement")
        async with self._both() as (asked, history):
            counted, answered, notes = await _count(asked, history, window, queryid)
            known = (await history.texts([queryid])).get(queryid)
            texts = {} if known is not None else await described_by_server(asked, [queryid])
            series = await history.series(queryid, WINDOWS[window])
        it = known or texts.get(queryid)
        if it is None and history.doubts:
            raise MonitorError("The history of statements, which may know it, cannot be read at the moment")
        if it is None:
            raise NotFound("There is no such statement")
        own = by_text(measured_queries(self._measured)).get(it.text)
        statement = counted.statement(queryid, *described(it, own))
        return StatementDetail(
            statement=statement,
            window=answered,
            counted=counted,
            first_seen=known.first_seen if known else None,
            last_seen=known.last_seen if known else None,
            tables=tables_of(it.text),
            series=series,
            measured=own,
            findings=statement_findings([statement], window=answered, least_percent=0.0),
            notes=(*history.doubts, *notes),
        )


async def _count(
    asked: Asked, history: HistoryRead, window: Window, queryid: int | None = None
) -> tuple[Counted, Window, tuple[str, ...]]:
    """What to answer from, and what to know about it; the server's own counters where the history has nothing."""
    length = WINDOWS[window]
    kept = await counted_by_history(asked, history, length, queryid) if length is not None else None
    if kept is not None:
        return kept, window, kept.doubts
    live = await counted_by_server(asked)
    note = f"There is no history of the last {window} yet; this is all since the server's counters were reset"
    return live, "all", (note,) * (length is not None) + live.doubts
