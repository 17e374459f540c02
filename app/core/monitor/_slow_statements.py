"""Which statements of a window are worth a look, in the order that somebody asks for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from app.core.monitor._statement_use import StatementUse

StatementSort = Literal["total", "mean", "calls", "max", "rows", "blocks", "temp", "wal"]
StatementMark = Literal["slow", "heavy", "unstable", "spills", "reads_much", "planning", "wal"]

_KEYS: dict[StatementSort, Callable[[StatementUse], float]] = {
    "total": lambda use: use.total_us,
    "mean": lambda use: use.mean_ms,
    "calls": lambda use: use.calls,
    "max": lambda use: use.max_us,
    "rows": lambda use: use.rows,
    "blocks": lambda use: use.blocks,
    "temp": lambda use: use.temp_blocks,
    "wal": lambda use: use.wal_bytes,
}


@dataclass(frozen=True, slots=True)
class SlowStatement:
    """One statement of a window. ``text`` is redacted; share_percent is its part of the time that all statements took.
    routes and policies: those that are known to send it."""

    queryid: int
    text: str
    use: StatementUse
    share_percent: float
    routes: tuple[str, ...]
    policies: tuple[str, ...]
    marks: tuple[StatementMark, ...]


def statements_in_order(uses: Mapping[int, StatementUse], sort: StatementSort) -> list[int]:
    """The statements with most of ``sort`` first; among equals the one that took more time."""
    key = _KEYS[sort]
    return sorted(uses, key=lambda queryid: (-key(uses[queryid]), -uses[queryid].total_us, queryid))


def share_percent(use: StatementUse, total: StatementUse) -> float:
    """Of the time that all statements took; 0 when there was none."""
    return 100.0 * use.total_us / total.total_us if total.total_us else 0.0


def statement_marks(
    use: StatementUse,
    share: float,
    *,
    slow_ms: float = 20.0,
    slow_calls: int = 100,
    heavy_percent: float = 5.0,
    unstable_calls: int = 10,
    blocks_per_row: float = 100.0,
    wal_bytes_per_call: int = 2**20,
) -> tuple[StatementMark, ...]:
    """What is the matter with a statement; nothing for most.

    slow: a mean of ``slow_ms`` or more in ``slow_calls`` calls. heavy: ``heavy_percent`` of the server's time, however quick each call is.
    unstable: its times differ by more than their mean, in ``unstable_calls`` or more. spills: it wrote temporary files. reads_much: over
    ``blocks_per_row`` blocks for each row (or call, without rows); what only counts rows does that too. planning: planning took longer
    than running. wal: ``wal_bytes_per_call`` of WAL. The first two are PgHero's thresholds and postgres-mcp's.
    """
    per_row = use.blocks / max(1, use.rows or use.calls)
    found: dict[StatementMark, bool] = {
        "slow": use.mean_ms >= slow_ms and use.calls >= slow_calls,
        "heavy": share >= heavy_percent,
        "unstable": use.calls >= unstable_calls and use.stddev_ms > use.mean_ms,
        "spills": use.temp_blocks > 0,
        "reads_much": per_row > blocks_per_row,
        "planning": use.plan_us > use.exec_us,
        "wal": use.wal_bytes >= wal_bytes_per_call * max(1, use.calls),
    }
    return tuple(mark for mark, is_so in found.items() if is_so)
