"""Collecting what a test has dropped, and only that."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def own_garbage() -> Iterator[Callable[[], int]]:
    """Gives a function that collects what the block has made and dropped so far, and tells how many objects that were.

    What is older than the block is not looked at: a process of thousands of tests takes half a second to search, and how many
    objects of earlier tests end meanwhile is not this test's business. The collector does not run by itself in the block, so that
    nothing grows old in it.
    """
    gc.collect(1)
    gc.disable()
    try:
        yield lambda: gc.collect(1)
    finally:
        gc.enable()
