"""What to do about statements that cost much."""

from collections.abc import Callable, Iterable

from app.core.monitor._figures import size
from app.core.monitor._panel import Finding, Severity
from app.core.monitor._slow_statements import SlowStatement, StatementMark
from app.core.monitor._statements import STATEMENTS_EXTENSION


def statement_findings(
    statements: Iterable[SlowStatement], *, window: str, least_percent: float = 1.0, limit: int = 20
) -> list[Finding]:
    """A finding for each mark of statements that take at least ``least_percent`` of the server's time; the first ``limit``."""
    return [
        _finding(statement, mark, window)
        for statement in statements
        if statement.share_percent >= least_percent
        for mark in statement.marks
    ][:limit]


def extension_missing(*, is_available: bool) -> Finding:
    """How to let the server count statements."""
    return Finding(
        check="statements.extension",
        severity="info",
        subject=STATEMENTS_EXTENSION,
        title="The server does not count its statements; what is shown was measured in this process alone",
        evidence=f"The extension {STATEMENTS_EXTENSION} is {'available' if is_available else 'neither installed nor available'}",
        fix="Put pg_stat_statements into shared_preload_libraries, restart the server, and create the extension in this database"
        + ("" if is_available else "; it is in the server's contrib package"),
        ddl=("CREATE EXTENSION IF NOT EXISTS pg_stat_statements;",),
    )


def texts_hidden(hidden: int) -> list[Finding]:
    """That there are statements which the monitor may not see."""
    if not hidden:
        return []
    return [
        Finding(
            check="statements.hidden",
            severity="info",
            subject=STATEMENTS_EXTENSION,
            title="Statements of other roles are not in the list",
            evidence=f"{hidden} entries of roles whose statements the monitor's role may not see",
            fix="Grant pg_read_all_stats (or pg_monitor) to the monitor's role",
        )
    ]


def _finding(statement: SlowStatement, mark: StatementMark, window: str) -> Finding:
    severity, title, evidence, fix = _WORDS[mark]
    use = statement.use
    return Finding(
        check=f"statements.{mark}",
        severity=severity,
        subject=str(statement.queryid),
        title=title,
        evidence=f"{evidence(statement)}; {use.calls} calls, mean {use.mean_ms:.1f} ms, window {window}",
        fix=fix,
    )


_WORDS: dict[StatementMark, tuple[Severity, str, Callable[[SlowStatement], str], str]] = {
    "slow": (
        "warning",
        "A statement that runs often is slow",
        lambda it: f"{it.share_percent:.1f} % of all time",
        "Look at its plan and at the advice on indexes",
    ),
    "heavy": (
        "info",
        "A statement takes a large part of the server's time",
        lambda it: f"{it.share_percent:.1f} % of all time",
        "If each call is quick already, call it less: cache its result, or fetch for many at once",
    ),
    "unstable": (
        "info",
        "A statement's times differ much",
        lambda it: (
            f"standard deviation {it.use.stddev_ms:.1f} ms, longest known {it.use.max_us / 1000:.1f} ms"
        ),
        "Compare its plans for rare and for frequent values; look for locks that it waits for",
    ),
    "spills": (
        "info",
        "A statement writes temporary files",
        lambda it: f"{it.use.temp_blocks} temporary blocks",
        "Sort or hash less (an index in the order that is asked for, a LIMIT), or raise work_mem for its role",
    ),
    "reads_much": (
        "warning",
        "A statement reads far more than it returns",
        lambda it: f"{it.use.blocks} blocks for {it.use.rows} rows",
        "Look at the advice on indexes; what only counts or sums reads much by its nature",
    ),
    "planning": (
        "info",
        "Planning a statement takes longer than running it",
        lambda it: f"planning {it.use.plan_us / 1000:.1f} ms, running {it.use.exec_us / 1000:.1f} ms",
        "Keep it prepared (do not change its text or comment with each call), or touch fewer partitions and joins",
    ),
    "wal": (
        "info",
        "A statement writes much WAL",
        lambda it: f"{size(it.use.wal_bytes)} of WAL",
        "Write fewer rows or columns at once; look for indexes that nobody uses on its table",
    ),
}
