"""Charges that are written after the answer, many in one transaction."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context
from typing import NamedTuple

import structlog

from app.core.db import SerializationFailure
from app.core.errors import Unavailable
from app.core.observability import CreditEvent, EventHub
from app.core.policies import Balance, Debit
from app.core.resilience import Clock, doubled_pause

Done = Callable[[Balance], None]
Post = Callable[[Sequence[Debit]], Awaitable[Mapping[str, Balance]]]
_LONGEST_PAUSE_S = 5.0
_log = structlog.get_logger(__name__)


class _Waiting(NamedTuple):
    debit: Debit
    done: Done
    until: float


class DebitBatch:
    """Gathers debits of this process and posts them together.

    ``window_s``: seconds from the first debit of a batch to its transaction. ``per_batch``: debits in one transaction. ``most``: debits
    that may wait; more are dropped. ``patience_s``: how long one is tried again while the database is away, ``pause_s`` the first pause,
    which doubles up to 5 seconds. A dropped debit is reported (``CreditEvent``), its hold is released by the sweeper, and its request was
    free. A process that is killed drops what waits: use strict settlement where that must not be. Belongs to one event loop.
    """

    def __init__(
        self,
        post: Post,
        hub: EventHub,
        clock: Clock,
        *,
        window_s: float = 0.04,
        per_batch: int = 500,
        most: int = 10_000,
        patience_s: float = 120.0,
        pause_s: float = 0.1,
    ) -> None:
        self._post = post
        self._hub = hub
        self._clock = clock
        self._window_s = window_s
        self._per_batch = per_batch
        self._most = most
        self._patience_s = patience_s
        self._pause_s = pause_s
        self._queue: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, debit: Debit, done: Done) -> None:
        """Post it soon, then call ``done`` with the balance after it. Returns at once; must be called on the event loop."""
        if len(self._queue) >= self._most:
            self._drop([debit], "too many wait")
            return
        self._queue.append(_Waiting(debit, done, self._clock.monotonic() + self._patience_s))
        if self._task is None or self._task.done():
            # Not in the context of the request that happens to be the first.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())

    async def aclose(self, limit_s: float = 5.0) -> None:
        """Post what waits, for at most ``limit_s`` seconds; what is left then is dropped. Nothing may be added meanwhile."""
        self._hurry.set()
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=limit_s)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        if self._queue:
            self._drop([waiting.debit for waiting in self._queue], "the process stops")
            self._queue.clear()

    async def _run(self) -> None:
        failures = 0
        while self._queue:
            if len(self._queue) < self._per_batch:
                await self._window()
            batch = self._next()
            if batch and not await self._try(batch):
                await asyncio.sleep(doubled_pause(self._pause_s, failures, _LONGEST_PAUSE_S))
                failures += 1
            else:
                failures = 0

    async def _window(self) -> None:
        try:
            async with asyncio.timeout(self._window_s):
                await self._hurry.wait()
        except TimeoutError:
            return

    def _next(self) -> list[_Waiting]:
        now = self._clock.monotonic()
        taken = [self._queue.popleft() for _ in range(min(self._per_batch, len(self._queue)))]
        if late := [waiting.debit for waiting in taken if waiting.until < now]:
            self._drop(late, "the database is away for too long")
        return [waiting for waiting in taken if waiting.until >= now]

    async def _try(self, batch: Sequence[_Waiting]) -> bool:
        """Post a batch. False: it waits to be tried again."""
        try:
            balances = await self._post([waiting.debit for waiting in batch])
        except (Unavailable, SerializationFailure) as error:
            # Perhaps it was committed after all; posting it again then changes nothing.
            self._put_back(batch)
            self._hub.emit(CreditEvent("delayed", len(batch)))
            _log.warning("credits.delayed", charges=len(batch), error=type(error).__name__)
            return False
        except asyncio.CancelledError:
            self._put_back(batch)
            raise
        except Exception:  # noqa: BLE001 - the outermost frame of a loop that must go on without the one that is wrong
            return await self._one_by_one(batch)
        self._hub.emit(CreditEvent("posted", len(batch)))
        for waiting in batch:
            try:
                waiting.done(balances[waiting.debit.account])
            except Exception as error:  # noqa: BLE001 - one caller's mistake must not keep the news from the others
                _log.warning("credits.not_told", error=type(error).__name__)
        return True

    async def _one_by_one(self, batch: Sequence[_Waiting]) -> bool:
        if len(batch) == 1:
            _log.exception("credits.refused", policy=batch[0].debit.policy)
            self._drop([batch[0].debit], "the database refuses it")
            return True
        for place, waiting in enumerate(batch):
            if not await self._try([waiting]):
                self._put_back(batch[place + 1 :])  # before the one that was put back: order does not matter
                return False
        return True

    def _put_back(self, batch: Sequence[_Waiting]) -> None:
        self._queue.extendleft(reversed(batch))

    def _drop(self, debits: Sequence[Debit], reason: str) -> None:
        self._hub.emit(CreditEvent("dropped", len(debits)))
        _log.error("credits.dropped", charges=len(debits), reason=reason)
