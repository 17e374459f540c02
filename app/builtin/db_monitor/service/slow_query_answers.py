"""What is known of slow statements, as it is answered."""

from app.builtin.db_monitor.repository import StatementSeries
from app.builtin.db_monitor.schemas import FindingOut
from app.builtin.db_monitor.schemas.slow_queries import (
    CountedOut,
    MeasuredQueryOut,
    SlowQueriesOut,
    SlowStatementOut,
    StatementOut,
    StatementPointOut,
    StatementSeriesOut,
    UseOut,
)
from app.builtin.db_monitor.service.counted import Counted
from app.builtin.db_monitor.service.slow_queries import SlowQueryReport, StatementDetail
from app.core.monitor import share_percent


def answer_of(report: SlowQueryReport) -> SlowQueriesOut:
    """The list."""
    return SlowQueriesOut(
        source=report.source,
        window=report.window,
        counted=_counted(report.counted) if report.counted is not None else None,
        statements=[SlowStatementOut.of_statement(statement) for statement in report.statements],
        measured=[MeasuredQueryOut.of(query) for query in report.measured],
        findings=FindingOut.all_of(report.findings),
        notes=list(report.notes),
    )


def answer_of_one(detail: StatementDetail) -> StatementOut:
    """One statement."""
    return StatementOut(
        **SlowStatementOut.of_statement(detail.statement).model_dump(),
        window=detail.window,
        counted=_counted(detail.counted),
        first_seen=detail.first_seen,
        last_seen=detail.last_seen,
        tables=list(detail.tables),
        series=_series(detail.series),
        measured=MeasuredQueryOut.of(detail.measured) if detail.measured is not None else None,
        findings=FindingOut.all_of(detail.findings),
        notes=list(detail.notes),
    )


def _counted(it: Counted) -> CountedOut:
    return CountedOut(
        since=it.since,
        until=it.until,
        is_complete=it.is_complete,
        covered_percent=round(it.covered_percent, 1),
        hidden=it.hidden,
        total=UseOut.of(it.total),
    )


def _series(it: StatementSeries) -> StatementSeriesOut:
    points = [
        StatementPointOut(
            at=at,
            calls=use.calls,
            mean_ms=round(use.mean_ms, 3),
            max_ms=use.max_us / 1000,
            total_ms=use.total_us / 1000,
            share_percent=round(share_percent(use, total), 2),
        )
        for at, use, total in it.points
    ]
    return StatementSeriesOut(step_s=int(it.step.total_seconds()), points=points)
