"""Invalidations that the store could not take: made up for as soon as it is back."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import final

import structlog

from app.core.valkey._errors import StoreError

_AGAIN_S = 0.5
_log = structlog.get_logger(__name__)


@final
class Debts:
    """Ends tags with ``invalidate``; what an outage kept from being ended is tried again every half second.

    A process that dies meanwhile leaves old entries behind until their time is over.
    """

    def __init__(
        self,
        invalidate: Callable[..., Awaitable[object]],
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._invalidate = invalidate
        self._sleep = sleep
        self._owed: set[str] = set()
        self._payer: asyncio.Task[None] | None = None

    async def end(self, tags: Iterable[str]) -> None:
        """End every entry with one of the tags. Never raises for the store."""
        wanted = sorted(tags)
        try:
            await self._invalidate(*wanted)
        except StoreError:
            is_first = not self._owed
            self._owed.update(wanted)
            if is_first:
                _log.warning("cache.invalidation_owed")
                self._payer = asyncio.get_running_loop().create_task(self._pay())

    def has(self, tags: Iterable[str]) -> bool:
        """Whether an entry with one of the tags may be too old, because this process could not end it yet."""
        return bool(self._owed) and not self._owed.isdisjoint(tags)

    async def close(self) -> None:
        """Stop trying."""
        payer, self._payer = self._payer, None
        if payer is not None:
            payer.cancel()
            await asyncio.wait({payer})

    async def _pay(self) -> None:
        while self._owed:
            await self._sleep(_AGAIN_S)
            tags = sorted(self._owed)
            try:
                await self._invalidate(*tags)
            except StoreError:
                continue
            self._owed.difference_update(tags)
