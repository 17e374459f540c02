"""What was read while a value is made: on what the value depends, and whether it may be kept."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from app.core.db._query_footprint import Footprint


@dataclass(slots=True, eq=False)
class Reading:
    """What was done while a value was made."""

    tags: set[str] = field(default_factory=set)
    is_known: bool = True
    is_secret: bool = False
    is_fit: bool = True
    """False: it wrote, or it read from a snapshot that may be older than the tags' versions, or what only this transaction sees."""

    def add(self, mark: Footprint, *, is_snapshot: bool) -> None:
        """One statement more."""
        self.tags |= mark.reads
        self.is_known &= mark.is_known
        self.is_fit &= not (mark.writes or is_snapshot or mark.is_snapshot)


_reading: ContextVar[Reading | None] = ContextVar("gatehouse_reading", default=None)


@contextmanager
def reading() -> Iterator[Reading]:
    """Note what statements in the block read, on whichever session; an enclosing one hears of it as well."""
    outer, seen = _reading.get(), Reading()
    token = _reading.set(seen)
    try:
        yield seen
    finally:
        _reading.reset(token)
        if outer is not None:
            outer.tags |= seen.tags
            outer.is_known &= seen.is_known
            outer.is_secret |= seen.is_secret
            outer.is_fit &= seen.is_fit


def note_secret() -> None:
    """An encrypted column was read in clear."""
    seen = _reading.get()
    if seen is not None:
        seen.is_secret = True


def note_reads(tags: Iterable[str], *, is_known: bool) -> None:
    """What a value out of the cache was made of: the value made with it depends on that too."""
    seen = _reading.get()
    if seen is not None:
        seen.tags.update(tags)
        seen.is_known &= is_known


def current_reading() -> Reading | None:
    """What is noted at this moment; None outside every block of ``reading``."""
    return _reading.get()
