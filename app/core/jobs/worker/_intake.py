"""Takes jobs from the broker and claims them in the store, for as long as there are places for them."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import structlog

from app.core.db import SerializationFailure
from app.core.errors import Unavailable
from app.core.jobs._broker import JobBroker, Message
from app.core.jobs._errors import WorkerGivenUp
from app.core.jobs._records import ClaimedJob
from app.core.jobs._store import JobStore
from app.core.jobs.worker._doubts import Doubts
from app.core.jobs.worker._places import JobPlaces
from app.core.resilience import doubled_pause

_log = structlog.get_logger(__name__)
_ID_BYTES = 16
_PAUSE_S, _LONGEST_PAUSE_S, _LONGEST_CLAIM_PAUSE_S = 0.1, 5.0, 2.0


class Intake:
    """Of one worker: ``feed`` for each queue, ``close``, then ``done`` once the feeds have ended.

    ``wait_s``: how long an idle queue is listened to at once. ``worker``: its id, which changes when it was given up; ``begin_anew`` sees
    to that, for the id that was. ``start`` gets each claimed job, the id it was claimed under, and where its place is given back.
    ``sleep`` and ``rng`` (0 to 1) are for tests.
    """

    def __init__(
        self,
        store: JobStore,
        broker: JobBroker,
        *,
        wait_s: float,
        worker: Callable[[], UUID],
        begin_anew: Callable[[UUID], Awaitable[None]],
        start: Callable[[ClaimedJob, UUID, JobPlaces], None],
        doubts: Doubts,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._broker = broker
        self._wait_s = wait_s
        self._worker = worker
        self._begin_anew = begin_anew
        self._start = start
        self._doubts = doubts
        self._sleep = sleep
        self._rng = rng
        self._is_open = True
        self._side: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Take no more after what is being taken."""
        self._is_open = False

    async def done(self) -> None:
        """Wait for the last acks."""
        await asyncio.gather(*self._side, return_exceptions=True)

    async def feed(self, queue: str, places: JobPlaces) -> None:
        """Read, claim, start. Holds one place while it waits, so that quiet queues take nothing from busy ones."""
        is_busy, failures = False, 0
        while self._is_open:
            if not (taken := await places.take(places.most if is_busy else 1)):
                return
            started = 0
            try:
                messages = await self._broker.read(queue, taken, 0.0 if is_busy else self._wait_s)
                started = await self._take(messages, places)
                is_busy, failures = bool(messages), 0
            except Unavailable as error:
                _log.warning("jobs.not_read", queue=queue, error=type(error).__name__)
                is_busy, failures = False, failures + 1
            except Exception:  # noqa: BLE001 - the outermost frame of a loop that must not end
                _log.exception("jobs.not_read", queue=queue)
                is_busy, failures = False, failures + 1
            finally:
                places.give_back(taken - started)
            if failures:
                await self._sleep(
                    doubled_pause(_PAUSE_S, failures, _LONGEST_PAUSE_S) * (0.5 + 0.5 * self._rng())
                )

    async def take_stale(self, queue: str, places: JobPlaces) -> None:
        """What others read and never claimed. Their jobs are still queued, so claiming decides again."""
        if not places.free or not (taken := await places.take(places.most)):
            return
        started = 0
        try:
            started = await self._take(await self._broker.claim_stale(queue, taken), places)
        finally:
            places.give_back(taken - started)

    async def _take(self, messages: Sequence[Message], places: JobPlaces) -> int:
        """Claim the jobs of messages and start them; how many. Acked once the store has the claim: it sees to them from there."""
        if not messages:
            return 0
        wanted: list[UUID] = []
        for message in messages:
            if len(message.body) == _ID_BYTES:
                wanted.append(UUID(bytes=message.body))
            else:
                await self._broker.dead_letter(message, "not the id of a job")
        worker, claimed = await self._claim(wanted, messages)
        for one in claimed:
            self._start(one, worker, places)
        self._aside(self._ack(messages))
        return len(claimed)

    async def _claim(
        self, wanted: Sequence[UUID], messages: Sequence[Message]
    ) -> tuple[UUID, list[ClaimedJob]]:
        """For whom, and what. While the database is away, or somebody was quicker, keep the messages and ask again."""
        failures = 0
        while True:
            worker = self._worker()
            try:
                claimed = await self._store.claim(worker, wanted)
            except WorkerGivenUp:
                await self._begin_anew(worker)
            except (Unavailable, SerializationFailure) as error:
                self._doubts.add(wanted)  # It may have been done.
                if not self._is_open:
                    raise
                _log.warning("jobs.not_claimed", jobs=len(wanted), error=type(error).__name__)
                failures += 1
                await self._sleep(doubled_pause(_PAUSE_S, failures, _LONGEST_CLAIM_PAUSE_S))
                with suppress(Unavailable):  # They come again, and are not queued then.
                    await self._broker.extend(messages)
            except Exception:
                self._doubts.add(wanted)  # As after an answer that cannot be read.
                raise
            else:
                # Meanwhile we may have been given up: then they are with others, and nobody would believe how they ended.
                return worker, claimed if worker == self._worker() else []

    async def _ack(self, messages: Sequence[Message]) -> None:
        try:
            await self._broker.ack(messages)
        except Unavailable as error:  # They come again, and their jobs are not queued then.
            _log.warning("jobs.not_acked", messages=len(messages), error=type(error).__name__)

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Nobody waits for it but the end of the worker."""
        task = asyncio.create_task(work)
        self._side.add(task)
        task.add_done_callback(self._side.discard)
