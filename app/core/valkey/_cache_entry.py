"""What is stored under a key, and what it is worth at a given time. Pure."""

from collections.abc import Callable, Sequence
from enum import Enum
from math import log
from typing import NamedTuple, Self


class Freshness(Enum):
    """What an entry may be used for."""

    FRESH = "fresh"  # show it
    STALE = "stale"  # show it only while a new one is made, or because that failed
    GONE = "gone"  # do not show it


class Entry(NamedTuple):
    """A stored value. Times are milliseconds of the server's clock; ``delta`` is what computing it took.

    ``versions`` are those of its tags when it was computed, joined by commas, or "-": an entry is valid only if they are still the same.
    """

    created: int
    fresh: int
    stale: int
    delta: int
    versions: str
    payload: bytes

    @classmethod
    def parse(cls, stored: bytes) -> Self:
        """Read "<created> <fresh> <stale> <delta> <versions>", a newline, the payload. Raises ValueError for anything else."""
        head, newline, payload = stored.partition(b"\n")
        parts = head.decode("ascii").split(" ")
        if not newline or len(parts) != 5:
            raise ValueError("not an entry of the cache")
        created, fresh, stale, delta, versions = parts
        return cls(int(created), int(fresh), int(stale), int(delta), versions, payload)


def parse_valid(stored: bytes | None, versions: str) -> Entry | None:
    """The entry, if there is one, it can be read, and no tag was invalidated since it was computed."""
    if stored is None:
        return None
    try:
        entry = Entry.parse(stored)
    except ValueError:
        return None
    return entry if entry.versions == versions else None


def version_of(stored: bytes | None) -> bytes | None:
    """A tag's version; None for a tag that has none, or something else instead, and needs a new one."""
    return stored if stored is not None and stored.isdigit() else None


def versions_of(tags: Sequence[bytes]) -> str:
    """The versions of an entry's tags as it carries them."""
    return b",".join(tags).decode("ascii") if tags else "-"


def freshness(entry: Entry, now_ms: int) -> Freshness:
    """What the entry may be used for at ``now_ms`` of the server's clock.

    One from the future is of before the clock went back: nobody knows how old it is, so it is not fresh.
    """
    if entry.created <= now_ms < entry.fresh:
        return Freshness.FRESH
    return Freshness.STALE if now_ms < entry.stale else Freshness.GONE


def is_due(entry: Entry, now_ms: int, rng: Callable[[], float], beta: float = 1.0) -> bool:
    """Whether this caller should compute a fresh entry anew already (XFetch): rarely long before its end, nearly always just before.

    ``rng`` gives numbers from 0 up to but not including 1; ``beta`` above 1 is more eager. The longer computing takes, the earlier.
    """
    return now_ms - entry.delta * beta * log(1.0 - rng()) >= entry.fresh
