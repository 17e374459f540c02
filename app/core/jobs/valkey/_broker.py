"""Jobs on Valkey Streams: a stream for each queue and priority, one consumer group, a connection of its own for waiting."""

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from app.core.errors import Unavailable
from app.core.jobs._broker import PRIORITIES, Message, Parcel, Priority, QueueDepth
from app.core.jobs.valkey._scripts import (
    ACK,
    BURY,
    CLAIM,
    DEPTH,
    EXTEND,
    GROUP,
    LEAVE,
    NACK,
    NOBODY,
    PUBLISH,
    READ,
    REPLAY,
    QueueKeys,
    from_ms,
    in_chunks,
    keys_of,
    messages_of,
)
from app.core.jobs.valkey._waiting import Waiting
from app.core.resilience import Clock, SystemClock
from app.core.valkey import Script, ValkeyClient

_CHUNK = 500
_MOST_BYTES = 64 * 1024
_REASON_CHARACTERS = 500
_TURN = 8
_LOOK_AGAIN_S = 1.0
_ORDERS: tuple[tuple[Priority, ...], ...] = (PRIORITIES, PRIORITIES[::-1])


class ValkeyBroker:
    """Fulfils JobBroker on the platform's store. Every call is one script and one round trip on the connection that all share; only a read
    that waits uses another.

    ``stale_s``: after how many seconds without a word a message is somebody else's. ``timeout_s``: seconds that a call may take, more than
    the store's own limit, which is made for requests. ``most_dead``: of a queue, the newest are kept. ``gone_s``: after how many seconds
    without a call ``claim_stale`` forgets a reader, if it holds nothing.

    Every eighth read of a queue begins with its lowest priority. A read that waits looks again once a second, for what was given back
    meanwhile; what is published wakes it at once. All readers that wait are woken, and one gets it: for some dozens of processes, not
    thousands. Valkey may lose its last writes in a failover, and everything in a restart without persistence: who publishes keeps what is
    not done, and publishes it again (Relay).
    """

    def __init__(
        self,
        store: ValkeyClient,
        *,
        prefix: str = "jobs",
        stale_s: float = 60.0,
        timeout_s: float = 2.0,
        most_dead: int = 10_000,
        gone_s: float = 3600.0,
        clock: Clock | None = None,
    ) -> None:
        if min(stale_s, timeout_s, gone_s) <= 0:
            raise ValueError("stale_s, timeout_s and gone_s must be more than 0 seconds")
        if most_dead < 1:
            raise ValueError("most_dead must be 1 or more")
        self._store = store
        self._prefix = prefix
        self._stale_ms = max(1, round(stale_s * 1000))
        self._gone_ms = max(1, round(gone_s * 1000))
        self._most_dead = most_dead
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._waiting = Waiting(store, late_s=timeout_s)
        self._reads: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<ValkeyBroker {self._consumer} on {self._store!r}>"

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Put them into their queues, in order. Raises ValueError for a body of more than 64 KiB; nothing is published then."""
        streams: dict[str, list[bytes]] = {}
        for parcel in parcels:
            if len(parcel.body) > _MOST_BYTES:
                raise ValueError(f"a message holds at most {_MOST_BYTES} bytes, not {len(parcel.body)}")
            streams.setdefault(self._keys(parcel.queue).stream(parcel.priority), []).append(parcel.body)
        await _all(
            [
                self._run(PUBLISH, [stream], chunk)
                for stream, bodies in streams.items()
                for chunk in in_chunks(bodies, _CHUNK)
            ]
        )

    async def read(self, queue: str, most: int, wait_s: float) -> list[Message]:
        """Up to ``most`` messages (1 or more), the more urgent first. Waits up to ``wait_s`` seconds for the first one."""
        if most < 1:
            raise ValueError("most must be 1 or more")
        count = self._reads[queue] = self._reads.get(queue, 0) + 1
        order = _ORDERS[count % _TURN == 0]
        keys = self._keys(queue).pairs(order)
        deadline = self._clock.monotonic() + wait_s
        while True:
            reply = await self._run(READ, keys, [GROUP, self._consumer, most])
            if reply[0] != b"none":
                return messages_of(queue, order, reply)
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0:
                return []
            _, due_ms, *ids = reply
            pause_s = min(left_s, _LOOK_AGAIN_S, due_ms / 1000 if due_ms >= 0 else left_s)
            await self._waiting.until_newer(keys[::2], ids, pause_s)

    async def ack(self, messages: Sequence[Message]) -> None:
        """They are done with and never come again."""
        await self._each(ACK, messages, [GROUP])

    async def nack(self, messages: Sequence[Message], delay_s: float = 0.0) -> None:
        """Give them back: they come again, to anybody, after ``delay_s`` seconds."""
        if delay_s < 0:
            raise ValueError("delay_s must be 0 or more")
        await self._each(NACK, messages, [GROUP, NOBODY, round(delay_s * 1000)], is_delayed=True)

    async def extend(self, messages: Sequence[Message]) -> None:
        """They are still being worked on: the time after which they count as stale begins anew."""
        await self._each(EXTEND, messages, [GROUP, self._consumer])

    async def claim_stale(self, queue: str, most: int) -> list[Message]:
        """Messages that have been forgotten, delivered to us now. Also forgets readers that are gone."""
        if most < 1:
            raise ValueError("most must be 1 or more")
        args: list[bytes | str | int] = [
            GROUP,
            self._consumer,
            NOBODY,
            most,
            self._stale_ms,
            self._gone_ms,
        ]
        return messages_of(queue, PRIORITIES, await self._run(CLAIM, self._keys(queue).pairs(), args))

    async def dead_letter(self, message: Message, reason: str) -> None:
        """Put it aside, with the reason."""
        keys = self._keys(message.queue)
        words = reason[:_REASON_CHARACTERS].encode("utf-8", "replace")
        number = PRIORITIES.index(message.priority) + 1
        args: list[bytes | str | int] = [GROUP, message.handle, self._most_dead, number, message.body, words]
        await self._run(BURY, [keys.stream(message.priority), keys.dead], args)

    async def replay(
        self, queue: str, most: int, *, since: datetime | None = None, until: datetime | None = None
    ) -> int:
        """Publish dead messages again that were put aside in that time; how many. Raises ValueError for a time without a zone."""
        keys = self._keys(queue)
        first = _milliseconds(since, round_up=True) if since else 0
        last: int | str = _milliseconds(until) if until else "+"
        count = 0
        while count < most:
            size = min(most - count, _CHUNK)
            found, now_ms = await self._run(REPLAY, [*keys.streams, keys.dead], [first, last, size])
            count += found
            if found < size:
                break
            last = now_ms if last == "+" else last  # what dies meanwhile, perhaps of this, is not replayed
        return count

    async def depth(self, queue: str) -> QueueDepth:
        """How a queue stands."""
        keys = self._keys(queue)
        waiting, unacked, dead, oldest = await self._run(DEPTH, [*keys.pairs(), keys.dead], [GROUP])
        return QueueDepth(waiting, unacked, dead, None if oldest < 0 else from_ms(oldest))

    async def close(self) -> None:
        """Give the connections back, and take ourselves off the lists of readers where we hold nothing."""
        await self._waiting.close()
        queues, self._reads = list(self._reads), {}
        with suppress(Unavailable):  # then others forget us
            await _all(
                [self._run(LEAVE, self._keys(queue).streams, [GROUP, self._consumer]) for queue in queues]
            )

    def _keys(self, queue: str) -> QueueKeys:
        return keys_of(self._prefix, queue)

    async def _run(self, script: Script, keys: Sequence[str], args: Sequence[bytes | str | int]) -> Any:
        return await self._store.run(script, keys, args, timeout_s=self._timeout_s)

    async def _each(
        self,
        script: Script,
        messages: Sequence[Message],
        args: Sequence[str | int],
        *,
        is_delayed: bool = False,
    ) -> None:
        """Call the script for each stream with its messages, all in one round trip."""
        handles: dict[tuple[str, Priority], list[str]] = {}
        for one in messages:
            handles.setdefault((one.queue, one.priority), []).append(one.handle)
        calls = []
        for (queue, priority), ids in handles.items():
            keys = self._keys(queue).pairs([priority])[: 2 if is_delayed else 1]
            calls += [self._run(script, keys, [*args, *chunk]) for chunk in in_chunks(ids, _CHUNK)]
        await _all(calls)


async def _all(calls: Sequence[Awaitable[Any]]) -> None:
    """Send all of them together, and wait for all, also when one fails."""
    if len(calls) == 1:
        await calls[0]
        return
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _milliseconds(time: datetime, *, round_up: bool = False) -> int:
    """Since 1970, as the server counts."""
    if time.tzinfo is None:
        raise ValueError("a time needs a zone")
    microseconds = round(time.timestamp() * 1_000_000)
    return max(0, -(-microseconds // 1000) if round_up else microseconds // 1000)
