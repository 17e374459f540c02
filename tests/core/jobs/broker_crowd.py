"""Readers of one queue who do by chance all that a reader may do."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random

from app.core.jobs import PRIORITIES, JobBroker, Message, Parcel


class Crowd:
    """Publishes ``texts`` and works until each of them was acked once; ``done`` are those that were. The same turns each time, as far as
    the order in which answers come allows.
    """

    def __init__(self, queue: str, texts: Sequence[bytes]) -> None:
        self._queue = queue
        self._texts = texts
        self._turns = Random(7)
        self.done: set[bytes] = set()

    async def publish(self, broker: JobBroker) -> None:
        """All of them, in small parts and with any priority."""
        for at in range(0, len(self._texts), 10):
            part = self._texts[at : at + 10]
            await broker.publish([Parcel(self._queue, text, self._turns.choice(PRIORITIES)) for text in part])

    async def read(self, broker: JobBroker) -> None:
        """Read, often without the patience to wait for the answer."""
        await self._until_done(broker, lambda: self._impatient(broker))

    async def claim(self, broker: JobBroker) -> None:
        """Take what others forget."""
        await self._until_done(broker, lambda: broker.claim_stale(self._queue, 5))

    async def _until_done(self, broker: JobBroker, get: Callable[[], Awaitable[list[Message]]]) -> None:
        while len(self.done) < len(self._texts):
            for message in await get():
                await self._treat(broker, message)

    async def _treat(self, broker: JobBroker, message: Message) -> None:
        way = self._turns.randrange(5)
        if way == 0:
            await broker.nack([message], self._turns.choice([0.0, 0.001]))
        elif way == 1:
            await broker.dead_letter(message, "by chance")
            await broker.replay(self._queue, 3)
        elif way > 2:  # forgotten otherwise
            await broker.ack([message])
            self.done.add(message.body)

    async def _impatient(self, broker: JobBroker) -> list[Message]:
        reading = asyncio.create_task(broker.read(self._queue, 5, 0.01))
        for _ in range(self._turns.randrange(50)):
            await asyncio.sleep(0)
        if self._turns.random() < 0.2:
            reading.cancel()
        (found,) = await asyncio.gather(reading, return_exceptions=True)
        if isinstance(found, Exception):
            raise found
        return [] if isinstance(found, BaseException) else found
