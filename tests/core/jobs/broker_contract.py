"""What any JobBroker does: a class of tests for the fixtures ``broker``, ``other`` and ``forgetful``.

``broker`` and ``other`` are two readers of the same queues, with a limit so long that nothing becomes stale in a test. ``forgetful`` is a
third one, for which any message is stale as soon as nobody has said a word for a moment.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from app.core.jobs import PRIORITIES, JobBroker, Message, Parcel, QueueDepth
from tests.core.jobs.broker_crowd import Crowd

PATIENCE_S = 60.0
_numbers = count(1)


@pytest.fixture
def queue() -> str:
    """A queue that no other test uses."""
    return f"queue-{next(_numbers)}"


def bodies(messages: list[Message]) -> list[bytes]:
    """What they say."""
    return [message.body for message in messages]


async def until_some(ask: Callable[[], Awaitable[list[Message]]]) -> list[Message]:
    """Ask until there is something: brokers count time in steps."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if found := await ask():
                return found


async def emptied(broker: JobBroker, queue: str) -> list[bytes]:
    """What a queue held; all of it is acked."""
    found: list[bytes] = []
    while messages := await broker.read(queue, 100, 0.0):
        found += bodies(messages)
        await broker.ack(messages)
    return found


class BrokerContract:
    """Make a subclass whose name begins with Test, beside fixtures of the three names."""

    async def test_messages_come_once_in_the_order_of_publishing_until_they_are_acked(
        self, broker: JobBroker, other: JobBroker, queue: str
    ) -> None:
        assert await broker.depth(queue) == QueueDepth(0, 0, 0, None)
        texts = [b"%d" % number for number in range(5)] + [b"", b"\x00\xff" * 8, b"x" * 65_536]
        await broker.publish([])
        await broker.publish([Parcel(queue, text) for text in texts])
        first = await broker.read(queue, 3, 0.0)
        rest = await other.read(queue, 100, 0.0)
        assert bodies(first + rest) == texts
        for message in first + rest:
            assert (message.queue, message.priority, message.deliveries) == (queue, "normal", 1)
            assert abs(datetime.now(UTC) - message.published_at) < timedelta(minutes=5)
        assert [await reader.read(queue, 100, 0.0) for reader in (broker, other)] == [[], []]
        await broker.ack([])
        await other.ack(first)
        await broker.ack(rest)
        await broker.ack(rest)
        assert await broker.depth(queue) == QueueDepth(0, 0, 0, None)

    async def test_depth_tells_what_waits_and_what_is_in_hands_and_how_old_it_is(
        self, broker: JobBroker, queue: str
    ) -> None:
        await broker.publish(
            [Parcel(queue, b"%d" % number, priority) for priority in PRIORITIES for number in range(2)]
        )
        messages = await broker.read(queue, 3, 0.0)
        oldest = messages[0].published_at
        assert await broker.depth(queue) == QueueDepth(3, 3, 0, oldest)
        await broker.ack(messages)
        depth = await broker.depth(queue)
        assert (depth.waiting, depth.unacked) == (3, 0)
        assert depth.oldest is not None
        assert depth.oldest >= oldest

    async def test_one_call_publishes_into_several_queues(self, broker: JobBroker, queue: str) -> None:
        names = [queue, f"{queue} {{with}} :braces: \u00fc", queue + "x" * 200]
        await broker.publish([Parcel(name, name.encode()) for name in names])
        for name in names:
            assert await emptied(broker, name) == [name.encode()]

    async def test_what_is_too_large_is_refused_with_all_that_was_published_with_it(
        self, broker: JobBroker, queue: str
    ) -> None:
        with pytest.raises(ValueError, match="65536 bytes, not 65537"):
            await broker.publish([Parcel(queue, b"good"), Parcel(queue, b"x" * 65_537)])
        assert (await broker.depth(queue)).waiting == 0

    async def test_the_more_urgent_come_first_and_the_less_urgent_come_all_the_same(
        self, broker: JobBroker, queue: str
    ) -> None:
        await broker.publish([Parcel(queue, priority.encode(), priority) for priority in PRIORITIES[::-1]])
        messages = await broker.read(queue, 100, 0.0)
        assert [message.priority for message in messages] == list(PRIORITIES)
        assert bodies(messages) == [b"high", b"normal", b"low"]
        await broker.publish([Parcel(queue, b"low", "low"), Parcel(queue, b"normal")])
        for _ in range(100):
            await broker.publish([Parcel(queue, b"high", "high")])
            messages += await broker.read(queue, 1, 0.0)
            if {message.priority for message in messages[3:]} == set(PRIORITIES):
                break
        assert {message.priority for message in messages[3:]} >= {"high", "low"}

    async def test_a_read_waits_for_the_first_message(self, broker: JobBroker, queue: str) -> None:
        assert await broker.read(queue, 5, 0.01) == []
        for priority in PRIORITIES:
            reading = asyncio.create_task(broker.read(queue, 5, PATIENCE_S))
            await asyncio.sleep(0)
            await broker.publish([Parcel(queue, priority.encode(), priority)])
            assert bodies(await reading) == [priority.encode()]

    async def test_readers_that_wait_hold_up_nobody_and_share_what_comes(
        self, broker: JobBroker, other: JobBroker, queue: str
    ) -> None:
        names = [f"{queue}-{number}" for number in range(4)]
        readers = [
            asyncio.create_task(one.read(name, 1, PATIENCE_S)) for name in names for one in (broker, other)
        ]
        await broker.depth(queue)
        for text in (b"1", b"2"):
            await broker.publish([Parcel(name, text) for name in names])
        found = await asyncio.gather(*readers)
        assert sorted(message.body for messages in found for message in messages) == [b"1"] * 4 + [b"2"] * 4

    async def test_a_cancelled_read_does_no_harm(
        self, broker: JobBroker, forgetful: JobBroker, queue: str
    ) -> None:
        for turns in range(8):
            reading = asyncio.create_task(broker.read(queue, 1, PATIENCE_S))
            for _ in range(turns * turns):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        await broker.publish([Parcel(queue, b"after")])

        async def look() -> list[Message]:
            return await broker.read(queue, 1, 0.0) or await forgetful.claim_stale(queue, 1)

        assert bodies(await until_some(look)) == [b"after"]

    async def test_what_is_given_back_comes_again_to_anybody(
        self, broker: JobBroker, other: JobBroker, queue: str
    ) -> None:
        await broker.publish([Parcel(queue, b"1"), Parcel(queue, b"2", "low")])
        first = await broker.read(queue, 5, 0.0)
        await broker.nack([])
        await broker.nack(first)
        again = await until_some(lambda: other.read(queue, 5, 0.0))
        assert bodies(again) == [b"1", b"2"]
        assert [message.deliveries for message in again] == [2, 2]
        assert [one.published_at for one in again] == [one.published_at for one in first]
        await other.ack(again)
        await broker.nack(first)
        assert await broker.depth(queue) == QueueDepth(0, 0, 0, None)

    async def test_what_is_given_back_for_later_waits_and_comes_when_it_is_due(
        self, broker: JobBroker, forgetful: JobBroker, queue: str
    ) -> None:
        await broker.publish([Parcel(queue, b"late"), Parcel(queue, b"soon")])
        late, soon = messages = await broker.read(queue, 5, 0.0)
        await broker.nack([late], 3600.0)
        await broker.nack([soon], 0.02)
        assert await broker.depth(queue) == QueueDepth(2, 0, 0, messages[0].published_at)
        again = await broker.read(queue, 5, PATIENCE_S)
        assert [(one.body, one.deliveries) for one in again] == [(b"soon", 2)]
        await broker.ack(again)
        # It is nobody's fault that it waits, however long.
        assert await forgetful.claim_stale(queue, 5) == []
        assert await broker.read(queue, 5, 0.0) == []
        await broker.ack([late])
        assert await broker.depth(queue) == QueueDepth(0, 0, 0, None)

    async def test_what_a_reader_forgets_another_gets(
        self, broker: JobBroker, other: JobBroker, forgetful: JobBroker, queue: str
    ) -> None:
        assert await broker.claim_stale(queue, 5) == []
        await broker.publish([Parcel(queue, priority.encode(), priority) for priority in PRIORITIES])
        first = await broker.read(queue, 5, 0.0)
        assert await other.claim_stale(queue, 5) == []
        found = await until_some(lambda: forgetful.claim_stale(queue, 2))
        found += await until_some(lambda: forgetful.claim_stale(queue, 5))
        assert {message.body for message in found} == {message.body for message in first}
        assert [message.deliveries for message in found[:2]] == [2, 2]
        await other.ack(found)
        assert await broker.depth(queue) == QueueDepth(0, 0, 0, None)
        await broker.extend(first)
        assert await until_none(forgetful, queue)

    async def test_the_dead_are_put_aside_and_can_be_published_again(
        self, broker: JobBroker, queue: str
    ) -> None:
        await broker.publish([Parcel(queue, b"bad"), Parcel(queue, b"worse", "low"), Parcel(queue, b"good")])
        messages = {message.body: message for message in await broker.read(queue, 5, 0.0)}
        before = datetime.now(UTC) - timedelta(minutes=5)
        await broker.dead_letter(messages[b"bad"], "no sense: " + "\u00fc\ud800" * 500)
        await broker.dead_letter(messages[b"worse"], "")
        await broker.dead_letter(messages[b"worse"], "told twice")
        await broker.ack([messages[b"good"]])
        assert await broker.depth(queue) == QueueDepth(0, 0, 2, None)
        assert await broker.replay(queue, 5, until=before) == 0
        assert await broker.replay(queue, 5, since=datetime.now(UTC) + timedelta(minutes=5)) == 0
        assert await broker.replay(queue, 1, since=before) == 1
        (again,) = await broker.read(queue, 5, 0.0)
        assert (again.body, again.priority, again.deliveries) == (b"bad", "normal", 1)
        assert await broker.replay(queue, 5, until=datetime.now(UTC) + timedelta(minutes=5)) == 1
        assert await broker.replay(queue, 5) == 0
        (again,) = await broker.read(queue, 5, 0.0)
        assert (again.body, again.priority) == (b"worse", "low")

    async def test_whatever_readers_do_every_message_is_done_with_in_the_end(
        self, broker: JobBroker, other: JobBroker, forgetful: JobBroker, queue: str
    ) -> None:
        texts = [b"%d" % number for number in range(300)]
        crowd = Crowd(queue, texts)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(
                crowd.publish(broker), crowd.read(broker), crowd.read(other), crowd.claim(forgetful)
            )
            while await broker.depth(queue) != QueueDepth(0, 0, 0, None):
                await broker.replay(queue, 10)
                await broker.ack(await broker.read(queue, 10, 0.0) + await forgetful.claim_stale(queue, 10))
        assert crowd.done == set(texts)

    async def test_what_makes_no_sense_is_refused(self, broker: JobBroker, queue: str) -> None:
        for most in (0, -1):
            with pytest.raises(ValueError, match="most must be 1 or more"):
                await broker.read(queue, most, 0.0)
            with pytest.raises(ValueError, match="most must be 1 or more"):
                await broker.claim_stale(queue, most)
        with pytest.raises(ValueError, match="delay_s must be 0 or more"):
            await broker.nack([], -1.0)
        with pytest.raises(ValueError, match="needs a zone"):
            await broker.replay(queue, 1, since=datetime(2026, 1, 1))  # noqa: DTZ001 - it is what must be refused


async def until_none(broker: JobBroker, queue: str) -> bool:
    """Whether nothing is stale, also after everybody had a turn."""
    await asyncio.sleep(0)
    return await broker.claim_stale(queue, 5) == []
