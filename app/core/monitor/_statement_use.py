"""What one statement cost, in numbers that can be added."""

from dataclasses import dataclass, fields
from math import sqrt
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementUse:
    """What executions of one statement cost together. Times in whole microseconds, blocks of the server's block size (8 KiB mostly).

    exec_us: running; plan_us: planning (0 unless ``track_planning``), counted in ``plans``. io_us: reading and writing blocks (0 unless
    ``track_io_timing``). hit_blocks, read_blocks: tables and indexes from memory and from outside it, temporary tables among them.
    temp_blocks: written or read because ``work_mem`` did not do. squares_ms2: the sum of the squares of the times, in milliseconds.
    max_us: the longest execution that is known; there may have been a longer one where an interval is part of an older record.
    """

    calls: int = 0
    exec_us: int = 0
    plans: int = 0
    plan_us: int = 0
    io_us: int = 0
    rows: int = 0
    hit_blocks: int = 0
    read_blocks: int = 0
    dirtied_blocks: int = 0
    temp_blocks: int = 0
    wal_bytes: int = 0
    squares_ms2: float = 0.0
    max_us: int = 0

    def __add__(self, other: Self) -> Self:
        """Both together."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in SUMMED}
        return type(self)(**sums, max_us=max(self.max_us, other.max_us))

    def __sub__(self, earlier: Self) -> Self:
        """What came since ``earlier``, a record of the same counters. ``max_us`` is known if it grew, and else the mean is all that is."""
        sums = {name: getattr(self, name) - getattr(earlier, name) for name in SUMMED}
        sums["squares_ms2"] = max(0.0, sums["squares_ms2"])  # a difference of two large floats
        mean = sums["exec_us"] // sums["calls"] if sums["calls"] > 0 else 0
        return type(self)(**sums, max_us=self.max_us if self.max_us > earlier.max_us else mean)

    def continues(self, earlier: Self) -> bool:
        """Whether no counter went back: then these may be the same counters later."""
        return all(getattr(self, name) >= getattr(earlier, name) for name in COUNTED)

    @property
    def total_us(self) -> int:
        """Planning and running."""
        return self.exec_us + self.plan_us

    @property
    def mean_ms(self) -> float:
        """Of one execution, without planning; 0 without any."""
        return self.exec_us / self.calls / 1000 if self.calls else 0.0

    @property
    def stddev_ms(self) -> float:
        """How far executions lie from the mean."""
        if self.calls < 2:
            return 0.0
        return sqrt(max(0.0, self.squares_ms2 / self.calls - self.mean_ms**2))

    @property
    def blocks(self) -> int:
        """Blocks of tables and indexes that were looked at."""
        return self.hit_blocks + self.read_blocks

    @property
    def hit_percent(self) -> float | None:
        """Of these, found in memory; None if there were none."""
        return 100.0 * self.hit_blocks / self.blocks if self.blocks else None

    @property
    def blocks_per_row(self) -> float | None:
        """Blocks looked at for each row that was returned or changed; None without rows."""
        return self.blocks / self.rows if self.rows else None


SUMMED = tuple(field.name for field in fields(StatementUse) if field.name != "max_us")
"""Names of what is added."""

COUNTED = tuple(name for name in SUMMED if name != "squares_ms2")
"""Of these, whole numbers that only grow."""
