"""Long lists, worked through without holding anybody up."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

_T = TypeVar("_T")


async def breathing(items: Iterable[_T], every: int = 128) -> AsyncIterator[_T]:
    """``items``, and after each ``every`` of them a turn for whoever else waits on the event loop: requests of the service, above all."""
    for number, item in enumerate(items, 1):
        yield item
        if not number % every:
            await asyncio.sleep(0)
