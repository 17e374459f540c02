"""Valkey's broker when others have trimmed, deleted, flushed or written what is its own."""

import asyncio

from app.core.jobs import Parcel, ValkeyBroker
from app.core.jobs.valkey._scripts import GROUP
from app.core.valkey import StoreReplyError, ValkeyClient
from tests.core.jobs.broker_contract import PATIENCE_S, bodies, emptied, until_some
from tests.core.jobs.valkey.hands import (
    KEYS,
    NOTHING,
    QUEUE,
    Make,
    blocked,
    delivered,
    parcels,
)


class TestTrimmed:
    async def test_what_was_never_delivered_and_is_trimmed_is_gone_without_a_trace(
        self, broker: ValkeyBroker, store: ValkeyClient
    ) -> None:
        await broker.publish(parcels(6))
        first = await broker.read(QUEUE, 2, 0.0)
        await store.execute("XTRIM", KEYS.stream("normal"), "MAXLEN", 3)
        depth = await broker.depth(QUEUE)
        assert (depth.waiting, depth.unacked) == (3, 0)
        assert depth.oldest is not None
        await broker.ack(first)
        assert await emptied(broker, QUEUE) == [b"3", b"4", b"5"]
        assert await broker.depth(QUEUE) == NOTHING

    async def test_what_is_pending_and_is_deleted_is_no_error_and_not_pending_for_ever(
        self, make: Make, broker: ValkeyBroker, store: ValkeyClient
    ) -> None:
        stream = KEYS.stream("normal")
        await delivered(broker, 5)
        messages = await delivered(broker, 3)
        await broker.nack([messages[2]])
        await store.execute("XDEL", stream, *(one.handle for one in messages))
        depth = await broker.depth(QUEUE)
        assert (depth.waiting, depth.unacked) == (0, 5)
        await broker.extend([messages[0]])
        await broker.nack([messages[1]])
        assert await broker.read(QUEUE, 5, 0.0) == []
        forgetful = make(stale_s=0.001)
        assert len(await until_some(lambda: forgetful.claim_stale(QUEUE, 10))) == 5
        assert (await store.execute("XPENDING", stream, GROUP))[0] == 5
        await broker.ack(messages)
        assert await store.execute("ZCARD", KEYS.later[1]) == 0

    async def test_a_delay_that_was_lost_does_not_hold_a_message_for_ever(
        self, make: Make, broker: ValkeyBroker, store: ValkeyClient
    ) -> None:
        messages = await delivered(broker, 3)
        await broker.nack(messages, 3600.0)
        await store.execute("ZREM", KEYS.later[1], messages[1].handle)
        forgetful = make(stale_s=0.001)
        assert bodies(await until_some(lambda: forgetful.claim_stale(QUEUE, 10))) == [b"1"]
        await store.execute("DEL", KEYS.later[1])
        found = await until_some(lambda: forgetful.claim_stale(QUEUE, 10))
        assert {b"0", b"2"} <= set(bodies(found))
        await broker.nack(messages, 3600.0)
        await store.execute("ZREM", KEYS.later[1], messages[0].handle, messages[1].handle)
        assert bodies(await until_some(lambda: forgetful.claim_stale(QUEUE, 1))) == [b"0"]


class TestFlushed:
    async def test_every_method_bears_that_all_is_gone(
        self, broker: ValkeyBroker, store: ValkeyClient
    ) -> None:
        messages = await delivered(broker, 2)
        for _ in range(2):
            await store.execute("FLUSHDB")
            await broker.extend(messages)
            await broker.nack(messages)
            await broker.ack(messages)
            await broker.dead_letter(messages[0], "why")
            assert await broker.claim_stale(QUEUE, 5) == []
            assert await broker.replay(QUEUE, 5) == 0
            assert await broker.depth(QUEUE) == NOTHING
            messages = await delivered(broker, 2)
        await store.execute("FLUSHDB")
        await broker.close()

    async def test_a_group_that_is_made_anew_misses_nothing(
        self, broker: ValkeyBroker, store: ValkeyClient
    ) -> None:
        messages = await delivered(broker, 3)
        await broker.ack(messages[:1])
        await broker.publish([Parcel(QUEUE, b"new")])
        await store.execute("XGROUP", "DESTROY", KEYS.stream("normal"), GROUP)
        depth = await broker.depth(QUEUE)
        assert (depth.waiting, depth.unacked) == (3, 0)
        assert await emptied(broker, QUEUE) == [b"1", b"2", b"new"]

    async def test_a_read_that_waits_sees_what_comes_after_it(
        self, broker: ValkeyBroker, store: ValkeyClient
    ) -> None:
        reading = asyncio.create_task(broker.read(QUEUE, 5, PATIENCE_S))
        async with asyncio.timeout(PATIENCE_S):
            while not await blocked(store):
                pass
        await store.execute("FLUSHDB")
        await broker.publish(parcels(1))
        assert bodies(await reading) == [b"0"]


class TestOthers:
    async def test_messages_of_somebody_elses_making_are_delivered_as_empty(
        self, broker: ValkeyBroker, store: ValkeyClient
    ) -> None:
        await store.execute("XADD", KEYS.stream("high"), "*", "other", "x")
        (message,) = await broker.read(QUEUE, 5, 0.0)
        assert (message.body, message.priority) == (b"", "high")
        await store.execute("XADD", KEYS.dead, "*", "other", "x")
        assert await broker.replay(QUEUE, 5) == 1
        assert bodies(await broker.read(QUEUE, 5, 0.0)) == [b""]

    async def test_a_key_of_another_type_is_an_outage(
        self, broker: ValkeyBroker, store: ValkeyClient
    ) -> None:
        (message,) = await delivered(broker, 1)
        for key in (*KEYS.pairs(), KEYS.dead):
            await store.execute("SET", key, "x")
        calls = {
            "publish": broker.publish(parcels(1)),
            "read": broker.read(QUEUE, 1, 0.0),
            "ack": broker.ack([message]),
            "nack": broker.nack([message]),
            "extend": broker.extend([message]),
            "claim": broker.claim_stale(QUEUE, 1),
            "dead": broker.dead_letter(message, "why"),
            "replay": broker.replay(QUEUE, 1),
            "depth": broker.depth(QUEUE),
        }
        outcomes = await asyncio.gather(*calls.values(), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreReplyError] * len(calls)
