"""What only Valkey's broker does: its keys, its round trips, and what stands in the store."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from app.core.jobs import PRIORITIES, Parcel, QueueDepth, ValkeyBroker
from app.core.jobs.valkey._scripts import BROKER_SCRIPTS, GROUP, NOBODY, REPLAY, keys_of
from app.core.valkey import ValkeyClient
from tests.core.jobs.broker_contract import PATIENCE_S, bodies, emptied, until_some
from tests.core.jobs.valkey.hands import (
    CLOCK,
    KEYS,
    NOTHING,
    PREFIX,
    QUEUE,
    Make,
    blocked,
    delivered,
    parcels,
    readers,
)


class TestOptions:
    async def test_what_makes_no_sense_is_refused(self, make: Make) -> None:
        for name in ("stale_s", "timeout_s", "gone_s"):
            with pytest.raises(ValueError, match="stale_s, timeout_s and gone_s must be more than 0 seconds"):
                make(**{name: 0})
        with pytest.raises(ValueError, match="most_dead must be 1 or more"):
            make(most_dead=0)

    async def test_two_in_one_process_are_two_readers(self, make: Make) -> None:
        assert repr(make()).startswith("<ValkeyBroker ")
        assert repr(make()) != repr(make())


class TestKeys:
    async def test_a_queues_keys_share_one_slot_whatever_its_name_is(self) -> None:
        for name in ("q", "{a}b", "}{", "", "ü" * 100):
            keys = keys_of("jobs", name)
            tags = {key[: key.index("}")] for key in (*keys.pairs(), keys.dead)}
            assert len(tags) == 1
            assert all(key.count("{") == key.count("}") == 1 for key in (*keys.pairs(), keys.dead))

    async def test_all_of_it_works_in_a_cluster(self, cluster: ValkeyClient) -> None:
        broker = ValkeyBroker(cluster, prefix=PREFIX, stale_s=0.001, timeout_s=30.0)
        names = ["a", "b", "c"]
        await broker.publish([Parcel(name, b"x", priority) for name in names for priority in PRIORITIES])
        assert await broker.read("d", 1, 0.01) == []
        messages = [message for name in names for message in await broker.read(name, 5, 0.0)]
        assert len(messages) == 9
        await broker.extend(messages)
        claimed = await until_some(lambda: broker.claim_stale("a", 5))
        await broker.nack(messages)
        messages = [message for name in names for message in await broker.read(name, 5, 0.0)]
        await broker.dead_letter(messages[0], "why")
        assert claimed
        assert await broker.replay("a", 5) == 1
        await broker.ack(messages)
        assert [await broker.depth(name) for name in names[1:]] == [NOTHING] * 2
        await broker.close()


class TestRoundTrips:
    async def test_a_call_is_one_script_for_each_stream_and_all_go_out_together(
        self, broker: ValkeyBroker, store: ValkeyClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await emptied(broker, QUEUE)
        await store.preload(BROKER_SCRIPTS)
        events: list[str] = []
        run = store.run

        async def noted(*args: Any, **options: Any) -> Any:
            events.append("sent")
            reply = await run(*args, **options)
            events.append("answered")
            return reply

        monkeypatch.setattr(store, "run", noted)
        calls = 0

        def spent(count: int) -> bool:
            nonlocal calls
            found, events[:] = list(events), []
            calls += count
            return found == ["sent"] * count + ["answered"] * count

        await broker.publish([Parcel(QUEUE, b"x", priority) for priority in PRIORITIES for _ in range(20)])
        assert spent(3)
        messages = await broker.read(QUEUE, 50, 0.0)
        assert spent(1)
        await broker.depth(QUEUE)
        assert spent(1)
        await broker.extend(messages)
        assert spent(3)
        await broker.nack(messages)
        assert spent(3)
        await broker.claim_stale(QUEUE, 5)
        assert spent(1)
        await broker.dead_letter(messages[0], "why")
        assert spent(1)
        await broker.ack(messages)
        assert spent(3)

    async def test_large_batches_go_in_parts_in_their_order(self, broker: ValkeyBroker) -> None:
        messages = await delivered(broker, 1201)
        assert bodies(messages) == [parcel.body for parcel in parcels(1201)]
        # More are in hands than are looked at one by one.
        depth = await broker.depth(QUEUE)
        assert (depth.waiting, depth.unacked) == (0, 1201)
        await asyncio.gather(*(broker.dead_letter(message, "why") for message in messages[:501]))
        await broker.ack(messages)
        assert await broker.depth(QUEUE) == QueueDepth(0, 0, 501, None)
        assert await broker.replay(QUEUE, 10_000, until=datetime(2999, 1, 1, tzinfo=UTC)) == 501
        assert len(await emptied(broker, QUEUE)) == 501


class TestWaiting:
    async def test_a_read_that_waits_wakes_when_a_delay_is_over(
        self, broker: ValkeyBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.core.jobs.valkey._broker._LOOK_AGAIN_S", PATIENCE_S)
        messages = await delivered(broker, 2)
        await broker.nack(messages[:1], 3600.0)
        await broker.nack(messages[1:], 0.05)
        async with asyncio.timeout(PATIENCE_S / 2):
            assert bodies(await broker.read(QUEUE, 5, PATIENCE_S)) == [b"1"]

    async def test_a_read_that_waits_sees_what_is_given_back_meanwhile(
        self, make: Make, broker: ValkeyBroker, store: ValkeyClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.core.jobs.valkey._broker._LOOK_AGAIN_S", 0.01)
        messages = await delivered(broker, 1)
        reading = asyncio.create_task(make().read(QUEUE, 5, PATIENCE_S))
        async with asyncio.timeout(PATIENCE_S / 2):
            while not await blocked(store):
                pass
            await broker.nack(messages)
            assert bodies(await reading) == [b"0"]


class TestPending:
    async def test_what_is_done_with_leaves_nothing_behind(
        self, broker: ValkeyBroker, store: ValkeyClient
    ) -> None:
        messages = await delivered(broker, 4)
        await broker.nack(messages[:1])
        again = await broker.read(QUEUE, 5, 0.0)
        await broker.dead_letter(messages[1], "why")
        await broker.ack([*again, *messages[2:]])
        stream = KEYS.stream("normal")
        assert (await store.execute("XPENDING", stream, GROUP))[0] == 0
        await broker.nack(messages, 3600.0)
        await broker.extend(messages)
        assert await store.execute("EXISTS", KEYS.later[1]) == 0
        assert await store.execute("XLEN", stream) == 0

    async def test_what_somebody_else_took_over_is_his(
        self, make: Make, broker: ValkeyBroker, store: ValkeyClient
    ) -> None:
        messages = await delivered(broker, 1)
        thief = make(stale_s=0.001)
        await until_some(lambda: thief.claim_stale(QUEUE, 5))
        await broker.extend(messages)
        (pending,) = await store.execute("XPENDING", KEYS.stream("normal"), GROUP, "-", "+", 5)
        assert pending[1].decode() in repr(thief)

    async def test_what_is_extended_is_not_stale(
        self, make: Make, broker: ValkeyBroker, store: ValkeyClient
    ) -> None:
        kept, left = await delivered(broker, 2)
        stream, holder = KEYS.stream("normal"), (await readers(store)).pop()
        aged = ("IDLE", 3_600_000, "JUSTID")
        await store.execute("XCLAIM", stream, GROUP, holder, 0, kept.handle, left.handle, *aged)
        await broker.extend([kept])
        patient = make(stale_s=3000.0)
        assert bodies(await patient.claim_stale(QUEUE, 5)) == [left.body]


class TestPriorities:
    async def test_every_eighth_read_is_the_least_urgents(self, broker: ValkeyBroker) -> None:
        await broker.publish([Parcel(QUEUE, b"l", "low"), Parcel(QUEUE, b"n")] * 16)
        await broker.publish([Parcel(QUEUE, b"h", "high")] * 16)
        found = [(await broker.read(QUEUE, 1, 0.0))[0].priority for _ in range(16)]
        assert found == [*["high"] * 7, "low"] * 2


class TestDead:
    async def test_the_newest_are_kept_with_why_and_whence(self, make: Make, store: ValkeyClient) -> None:
        broker = make(most_dead=2)
        messages = await delivered(broker, 3)
        for message in messages:
            await broker.dead_letter(message, "x" * 600)
        kept = await store.execute("XRANGE", KEYS.dead, "-", "+")
        assert [entry[1] for entry in kept] == [
            [b"b", one.body, b"p", b"2", b"r", b"x" * 500, b"id", one.handle.encode()] for one in messages[1:]
        ]

    async def test_both_ends_of_the_time_count(self, broker: ValkeyBroker, store: ValkeyClient) -> None:
        at = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
        number = round(at.timestamp() * 1000)
        for sequence in range(2):
            await store.execute("XADD", KEYS.dead, f"{number}-{sequence}", "b", "x", "p", "1")
        just_after, just_before = at.replace(microsecond=678_001), at.replace(microsecond=677_999)
        assert await broker.replay(QUEUE, 5, since=just_after) == 0
        assert await broker.replay(QUEUE, 5, until=just_before) == 0
        assert await broker.replay(QUEUE, 5, since=at, until=at) == 2

    async def test_what_dies_again_while_the_dead_are_published_is_not_published_again(
        self, broker: ValkeyBroker, store: ValkeyClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.core.jobs.valkey._broker._CHUNK", 1)
        for message in await delivered(broker, 2):
            await broker.dead_letter(message, "why")
        run = store.run

        async def deadly(script: Any, *args: Any, **options: Any) -> Any:
            reply = await run(script, *args, **options)
            if script is REPLAY:
                while await run(CLOCK) <= reply[1]:
                    pass
                for message in await broker.read(QUEUE, 5, 0.0):
                    await broker.dead_letter(message, "again")
            return reply

        monkeypatch.setattr(store, "run", deadly)
        assert await broker.replay(QUEUE, 50) == 2
        assert (await broker.depth(QUEUE)).dead == 2


class TestReaders:
    async def test_who_is_gone_is_forgotten_unless_he_holds_something(
        self, make: Make, store: ValkeyClient
    ) -> None:
        holding, idle, sweeper = make(), make(), make(gone_s=0.001)
        (message,) = await delivered(holding, 1)
        await idle.read(QUEUE, 1, 0.0)
        await make().claim_stale(QUEUE, 1)
        assert len(await readers(store)) == 2
        async with asyncio.timeout(PATIENCE_S):
            while len(left := await readers(store)) > 1:
                await sweeper.claim_stale(QUEUE, 1)
            assert left.pop().decode() in repr(holding)
            await holding.nack([message], 3600.0)
            while await readers(store) != {NOBODY.encode()}:
                await sweeper.claim_stale(QUEUE, 1)
        await holding.ack([message])

    async def test_who_closes_is_forgotten_unless_he_holds_something(
        self, make: Make, store: ValkeyClient
    ) -> None:
        holding, idle = make(), make()
        await delivered(holding, 1)
        await idle.read(QUEUE, 1, 0.0)
        await idle.read("another", 1, 0.0)
        assert len(await readers(store)) == 2
        await idle.close()
        await holding.close()
        (left,) = await readers(store)
        assert left.decode() in repr(holding)
