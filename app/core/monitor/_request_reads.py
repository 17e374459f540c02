"""The reads of one request, counted by statement: what an N+1 is told from."""

from collections.abc import Iterator
from typing import Any, Final

from app.core.monitor._known_statements import known_statement
from app.core.observability import DatabaseEvent

REPEATS: Final = 5
"""Runs of one statement in one request from which on it may be an N+1 (Sentry's threshold)."""
_TEXTS = 200  # Statements of one request that are told apart; one that runs more is no case for this.
_SAMPLES = 50
_CHUNK = 50  # A list of so many values is already the batch that an N+1 lacks.


class CountedRead:
    """One statement in one request. ``line`` is where the ``REPEATS``-th run came from."""

    __slots__ = ("distinct", "ended", "follows", "lines", "shape", "times", "total_s")

    def __init__(self, shape: str, *, follows: bool) -> None:
        self.shape = shape
        self.follows = follows
        self.times = 0
        self.total_s = 0.0
        self.ended = float("-inf")
        self.distinct: set[int] = set()
        self.lines: tuple[str, ...] = ()

    @property
    def is_repeated(self) -> bool:
        """Often, one after the other, each time for something else, after another read, and for long enough to matter."""
        return (
            self.follows
            and self.times >= REPEATS
            and len(self.distinct) > 1
            and (self.total_s >= 0.05 or self.times >= 4 * REPEATS)
        )


class RequestReads:
    """Mutable, one per request that asks the database. ``is_suspect``: some statement has run ``REPEATS`` times."""

    __slots__ = ("_by_shape", "_has_read", "_reads", "is_suspect")

    def __init__(self) -> None:
        self._reads: dict[str, CountedRead | None] = {}
        self._by_shape: dict[str, CountedRead] = {}
        self._has_read = False
        self.is_suspect = False

    def note(self, event: DatabaseEvent, now: float) -> CountedRead | None:
        """Count a statement that has just ended; it, when it has run ``REPEATS`` times by that."""
        text = event.statement
        try:
            read = self._reads[text]
        except KeyError:
            read = self._begin(text)
        if read is None or event.parameters is None:
            return None
        mark = _mark_of(text, event.parameters)
        started, ended = now - event.duration_s, read.ended
        read.ended = now
        # Side by side is no loop: whoever sends them at once waits once.
        if mark is None or started < ended:
            return None
        read.times += 1
        read.total_s += event.duration_s
        if len(read.distinct) < _SAMPLES:
            read.distinct.add(mark)
        if read.times != REPEATS:
            return None
        self.is_suspect = True
        return read

    def _begin(self, text: str) -> CountedRead | None:
        """The first run of a text in this request; None for what is no candidate. Texts that differ in literals only count together."""
        if len(self._reads) >= _TEXTS:
            return None
        known = known_statement(text)
        read = None
        if known.reads and not known.pages:
            read = self._by_shape.get(known.shape)
            if read is None:
                read = self._by_shape[known.shape] = CountedRead(known.shape, follows=self._has_read)
        self._has_read = self._has_read or known.reads
        self._reads[text] = read
        return read

    def __iter__(self) -> Iterator[CountedRead]:
        return iter(self._by_shape.values())


def _mark_of(text: str, parameters: Any) -> int | None:
    """A number that tells one set of parameters from another; None for a chunk of many. Nothing else of them is kept."""
    if len(parameters) >= _CHUNK:
        return None
    try:
        return hash((text, parameters if isinstance(parameters, tuple) else tuple(parameters)))
    except TypeError:
        if any(isinstance(value, list | tuple | set) and len(value) >= _CHUNK for value in parameters):
            return None
        return hash((text, repr(parameters)))
