"""Waits for a message without taking it, over connections that nobody else uses."""

import asyncio
from collections.abc import Sequence

from valkey.asyncio import Valkey
from valkey.exceptions import ValkeyError

from app.core.valkey import StoreDown, StoreTimeout, ValkeyClient


class Waiting:
    """A connection for each queue that is waited for at the moment, made when it is needed and again after a failure.

    Nothing is delivered over them: a call that is cancelled loses no message, and one that the server never answers ends by itself,
    ``late_s`` seconds after its time.
    """

    def __init__(self, store: ValkeyClient, *, late_s: float) -> None:
        self._store = store
        self._late_s = late_s
        self._client: Valkey | None = None
        self._is_closed = False

    async def until_newer(self, streams: Sequence[str], ids: Sequence[bytes], wait_s: float) -> None:
        """Return when one of the streams has something newer than its id, at the latest after ``wait_s`` seconds (at least 0.001).

        Raises StoreDown and StoreTimeout.
        """
        if self._is_closed:
            raise StoreDown("the broker is closed")
        if self._client is None:
            self._client = self._store.blocking()
        wait_ms = max(1, round(wait_s * 1000))
        try:
            async with asyncio.timeout(wait_s + self._late_s):
                await self._client.xread(dict(zip(streams, ids, strict=True)), count=1, block=wait_ms)
        except TimeoutError as error:
            raise StoreTimeout from error
        except (ValkeyError, OSError) as error:
            raise StoreDown(f"waiting for messages failed: {type(error).__name__}") from error

    async def close(self) -> None:
        """Drop the connections; what still waits ends with StoreDown."""
        self._is_closed = True
        if self._client is not None:
            await self._client.aclose()
