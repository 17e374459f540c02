"""Whether a value is being made that will be kept: what is read for it must be true, not only recent."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import final


@final
class Making:
    """One value on its way into the cache. ``is_fit`` turns false when it was made of something that may not be kept."""

    __slots__ = ("is_fit",)

    def __init__(self) -> None:
        self.is_fit = True


_current: ContextVar[Making | None] = ContextVar("gatehouse_making", default=None)


@contextmanager
def making() -> Iterator[Making]:
    """Around the work that makes a value. What spoils it spoils the values that it is a part of."""
    outer, here = _current.get(), Making()
    token = _current.set(here)
    try:
        yield here
    finally:
        _current.reset(token)
        if outer is not None and not here.is_fit:
            outer.is_fit = False


def is_making() -> bool:
    """Whether the caller makes a value that is to be kept."""
    return _current.get() is not None


def spoil() -> None:
    """What is being made here, if anything, must not be kept: it was made of what may be older than the versions of its tags."""
    here = _current.get()
    if here is not None:
        here.is_fit = False
