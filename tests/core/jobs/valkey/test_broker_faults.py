"""Valkey's broker while its server is away, frozen, full or new."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Iterator

import pytest

from app.core.errors import Unavailable
from app.core.jobs import Message, Parcel, QueueDepth, ValkeyBroker
from app.core.jobs.valkey._waiting import Waiting
from app.core.valkey import StoreDown, StoreError, StoreTimeout, ValkeyClient
from app.dev import EmbeddedValkey
from tests.core.jobs.broker_contract import PATIENCE_S, bodies
from tests.core.jobs.valkey.hands import blocked
from tests.leaks import LeakGuard
from tests.servers import PrivateServer, new_folder

QUEUE = "q"


@pytest.fixture(scope="module")
def server(leak_guard: LeakGuard) -> Iterator[PrivateServer]:
    """A server of this module's own."""
    folder = new_folder()
    server = EmbeddedValkey(folder / "valkey", durable=False)
    server.start()
    leak_guard.watch(server.url().partition("@")[0].rpartition(":")[2], "the password of the broker's server")
    yield PrivateServer(server, server.url)
    server.kill()
    shutil.rmtree(folder)


@pytest.fixture
async def client(server: PrivateServer) -> AsyncIterator[ValkeyClient]:
    client = ValkeyClient(server.url, timeout_s=5.0)
    await client.execute("FLUSHALL")
    yield client
    await client.close()


@pytest.fixture
async def broker(client: ValkeyClient) -> AsyncIterator[ValkeyBroker]:
    broker = ValkeyBroker(client, timeout_s=5.0)
    yield broker
    await broker.close()


async def recovered(broker: ValkeyBroker) -> bool:
    """Whether messages come through again, once the connections are made anew; what was there before is acked."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(Unavailable):
                await broker.publish([Parcel(QUEUE, b"new")])
                break
            await asyncio.sleep(0.02)
    found: list[bytes] = []
    while b"new" not in found:
        messages = await broker.read(QUEUE, 10, PATIENCE_S)
        found += bodies(messages)
        await broker.ack(messages)
    return True


async def waiting_read(
    broker: ValkeyBroker, client: ValkeyClient, wait_s: float
) -> asyncio.Task[list[Message]]:
    """A read that waits on its own connection."""
    reading = asyncio.create_task(broker.read(QUEUE, 1, wait_s))
    async with asyncio.timeout(PATIENCE_S):
        while not await blocked(client):
            pass
    return reading


async def test_a_server_that_is_killed_fails_what_waits_and_is_found_again(
    server: PrivateServer, client: ValkeyClient, broker: ValkeyBroker
) -> None:
    await broker.publish([Parcel(QUEUE, b"lost")])
    (message,) = await broker.read(QUEUE, 1, 0.0)
    reading = await waiting_read(broker, client, PATIENCE_S)
    server.kill()
    with pytest.raises(StoreDown) as caught:
        await reading
    assert caught.value.status == 503
    calls: list[Awaitable[object]] = [
        broker.publish([Parcel(QUEUE, b"x")]),
        broker.read(QUEUE, 1, 0.0),
        broker.read(QUEUE, 1, 1.0),
        broker.ack([message]),
        broker.nack([message]),
        broker.extend([message]),
        broker.claim_stale(QUEUE, 1),
        broker.dead_letter(message, "why"),
        broker.replay(QUEUE, 1),
        broker.depth(QUEUE),
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(outcome, StoreError) for outcome in outcomes] == [True] * len(calls)
    password = server.url.partition("@")[0].rpartition(":")[2]
    texts = [
        f"{outcome} {outcome!r} {outcome.__cause__!r}"
        for outcome in outcomes
        if isinstance(outcome, Exception)
    ]
    assert not any(password in text for text in [*texts, str(caught.value), repr(caught.value), repr(broker)])
    server.restart()
    assert await recovered(broker)
    assert await broker.depth(QUEUE) == QueueDepth(0, 0, 0, None)
    await broker.ack([message])


async def test_a_server_that_stands_still_ends_calls_and_waits_and_is_found_again(
    server: PrivateServer, client: ValkeyClient, broker: ValkeyBroker
) -> None:
    hasty, waiting = ValkeyBroker(client, timeout_s=0.1), Waiting(client, late_s=0.1)
    server.stop_signal()
    try:
        for call in (
            waiting.until_newer(["stream"], [b"0"], 0.001),
            hasty.publish([Parcel(QUEUE, b"perhaps")]),
            hasty.read(QUEUE, 1, PATIENCE_S),
        ):
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(StoreTimeout):
                    await call
    finally:
        server.cont()
    assert await recovered(broker)
    await client.execute("XADD", "stream", "*", "b", "x")
    patient = Waiting(client, late_s=PATIENCE_S)
    await patient.until_newer(["stream"], [b"0"], PATIENCE_S)
    await patient.close()
    await waiting.close()
    await hasty.close()


async def test_a_connection_that_is_cut_is_made_again(client: ValkeyClient, broker: ValkeyBroker) -> None:
    reading = await waiting_read(broker, client, PATIENCE_S)
    await client.execute("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with pytest.raises(StoreDown):
        await reading
    assert await recovered(broker)


async def test_a_full_server_takes_nothing_new_and_lets_what_is_there_end(
    client: ValkeyClient, broker: ValkeyBroker
) -> None:
    await broker.publish([Parcel(QUEUE, b"%d" % number) for number in range(3)])
    await client.execute("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreDown):
            await broker.publish([Parcel(QUEUE, b"too much")])
        first, second, third = await broker.read(QUEUE, 5, 0.0)
        await broker.ack([first])
        await broker.nack([second])
        await broker.dead_letter(third, "why")
        depth = await broker.depth(QUEUE)
        assert (depth.waiting, depth.unacked, depth.dead) == (1, 0, 1)
        with pytest.raises(StoreDown):
            await broker.replay(QUEUE, 5)
        assert bodies(await broker.read(QUEUE, 5, 0.0)) == [b"1"]
    finally:
        await client.execute("CONFIG", "SET", "maxmemory", "0")
    assert await broker.replay(QUEUE, 5) == 1


async def test_a_replica_that_takes_no_writes_is_an_outage(
    client: ValkeyClient, broker: ValkeyBroker
) -> None:
    await client.execute("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(StoreDown):
            await broker.publish([Parcel(QUEUE, b"x")])
    finally:
        await client.execute("REPLICAOF", "NO", "ONE")
    assert await recovered(broker)


async def test_after_close_nobody_waits(broker: ValkeyBroker) -> None:
    await broker.close()
    assert await broker.read(QUEUE, 1, 0.0) == []
    with pytest.raises(StoreDown, match="closed"):
        await broker.read(QUEUE, 1, 1.0)
