"""How the largest tables grew, as lines of one chart."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.core.monitor import Asked, SizePoint, size_series, table_sizes


@dataclass(frozen=True, slots=True)
class Lines:
    """``names`` of the lines, and for each moment their values: None where one has none."""

    names: tuple[str, ...]
    points: tuple[tuple[datetime, tuple[float | None, ...]], ...]


async def largest_over_time(asked: Asked, *, limit: int = 3) -> Lines:
    """Bytes of the ``limit`` largest tables with their indexes, hour by hour over the last week; no points where nobody keeps samples."""
    largest = await table_sizes(asked, limit=limit)
    series = [await size_series(asked, table.schema, table.name, largest.at) for table in largest.tables]
    return together(tuple(f"{table.schema}.{table.name}" for table in largest.tables), series)


def together(names: tuple[str, ...], series: Sequence[Sequence[SizePoint]]) -> Lines:
    """One row for each hour in which any of them has a point, at the last of these."""
    hours: dict[datetime, dict[int, SizePoint]] = {}
    for number, points in enumerate(series):
        for point in points:
            hour = point.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
            hours.setdefault(hour, {})[number] = point
    rows = [
        (
            max(it.at for it in found.values()),
            tuple(_bytes(found.get(number)) for number in range(len(names))),
        )
        for _, found in sorted(hours.items())
    ]
    return Lines(names, tuple(rows))


def _bytes(point: SizePoint | None) -> float | None:
    return None if point is None else float(point.bytes)
