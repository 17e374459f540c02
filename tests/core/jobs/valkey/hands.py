"""Valkey's broker in the hands of a test: messages in it, and what the store says of them."""

import re
from collections.abc import Callable

from app.core.jobs import JobBroker, Message, Parcel, QueueDepth, ValkeyBroker
from app.core.jobs.valkey._scripts import GROUP, keys_of
from app.core.valkey import Script, ValkeyClient

Make = Callable[..., ValkeyBroker]
PREFIX = "valkey-only"
QUEUE = "q"
KEYS = keys_of(PREFIX, QUEUE)
CLOCK = Script("clock", "local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000)")
NOTHING = QueueDepth(0, 0, 0, None)


def parcels(count: int) -> list[Parcel]:
    return [Parcel(QUEUE, b"%d" % number) for number in range(count)]


async def delivered(broker: JobBroker, count: int) -> list[Message]:
    """So many messages, published and read."""
    await broker.publish(parcels(count))
    messages = await broker.read(QUEUE, count, 0.0)
    assert len(messages) == count
    return messages


async def readers(store: ValkeyClient) -> set[bytes]:
    facts = await store.execute("XINFO", "CONSUMERS", KEYS.stream("normal"), GROUP)
    return {reader[1] for reader in facts}


async def blocked(store: ValkeyClient) -> bool:
    """Whether somebody waits for one of our streams: those of other test processes are in other databases of the server."""
    own = re.findall(rb" db=\d+ ", await store.execute("CLIENT", "INFO"))
    clients: bytes = await store.execute("CLIENT", "LIST")
    wanted = (b"cmd=xread ", b"flags=b", *own)
    return any(all(part in line for part in wanted) for line in clients.splitlines())
