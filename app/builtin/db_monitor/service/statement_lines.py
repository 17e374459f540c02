"""The history of statements as lines of charts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.core.monitor import StatementUse

Point = tuple[datetime, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True)
class StatementCharts:
    """The mean in milliseconds (None in steps without a call), and the calls."""

    mean: tuple[Point, ...]
    calls: tuple[Point, ...]


def charts_of(points: Sequence[tuple[datetime, StatementUse, StatementUse]]) -> StatementCharts:
    """Of a series: when each step began, what the statement cost in it, and all together."""
    return StatementCharts(
        tuple((at, (round(use.mean_ms, 4) if use.calls else None,)) for at, use, _ in points),
        tuple((at, (float(use.calls),)) for at, use, _ in points),
    )
