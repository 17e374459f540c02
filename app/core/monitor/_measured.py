"""What was measured of statements where they were sent from: all that the monitor needs to know of whoever measures."""

from collections.abc import Sequence
from typing import Protocol


class MeasuredQuery(Protocol):
    """One statement as it was seen from here, with the way to the server and back; durations in milliseconds."""

    @property
    def statement(self) -> str:
        """Redacted."""

    @property
    def query_count(self) -> int:
        """How often it ran."""

    @property
    def total_duration_ms(self) -> float:
        """All runs together."""

    @property
    def avg_duration_ms(self) -> float:
        """The mean."""

    @property
    def max_duration_ms(self) -> float:
        """The longest."""

    @property
    def p50_ms(self) -> float:
        """Half of them were quicker."""

    @property
    def p95_ms(self) -> float:
        """One in twenty was slower."""

    @property
    def p99_ms(self) -> float:
        """One in a hundred was slower."""

    @property
    def routes(self) -> tuple[tuple[str, int], ...]:
        """Who ran it, and how often."""


class Measured(Protocol):
    """Who measures statements where they are sent from; ``QueryLatencyTracker`` does."""

    def get_heaviest_queries(self, limit: int = 5) -> Sequence[MeasuredQuery]:
        """Those that took most time in all."""
