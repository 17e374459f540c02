"""A stored answer of the cache, taken apart once."""

from functools import lru_cache

from app.core.http._answer import Answer, unpack
from app.core.valkey import Entry


class Kept:
    """A stored answer, taken apart, and as it was last given: ``ready``, with what ``about`` says of its age; the same for a second."""

    __slots__ = ("about", "answer", "entry", "ready")

    def __init__(self, entry: Entry, answer: Answer) -> None:
        self.entry = entry
        self.answer = answer
        self.about: tuple[bytes, bytes, int, int] | None = None
        self.ready = answer


@lru_cache(maxsize=512)
def read_short(stored: bytes) -> Kept | None:
    """What many callers get is taken apart once. This remembers no answers: only the store knows which one is to be given."""
    try:
        entry = Entry.parse(stored)
        answer = unpack(entry.payload)
    except ValueError:
        return None
    return Kept(entry, answer) if answer.body is not None else None
