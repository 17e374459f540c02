"""The keys of a queue in Valkey, the scripts that work on them, and what they answer.

Each queue has a stream for each priority, ``{jobs:<queue>}:v1:<priority>``, with one consumer group; beside each stream a sorted set of
its delayed messages by the time when they are due, ``..:later``; and a stream of the dead, ``..:dead``. All of a queue shares a hash tag,
so one script may use it all in a Cluster. Times are the server's. A message is a field ``b``; its id says when it was published.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from app.core.jobs._broker import PRIORITIES, Message, Priority
from app.core.valkey import Script, escape

GROUP = "workers"
NOBODY = "(nobody)"
"""Who holds messages whose delay is not over."""

PUBLISH, READ, ACK, NACK, EXTEND, CLAIM, BURY, REPLAY, DEPTH, LEAVE = BROKER_SCRIPTS = tuple(
    Script.load("app.core.jobs.valkey.lua", f"broker_{name}.lua")
    for name in ("publish", "read", "ack", "nack", "extend", "claim", "bury", "replay", "depth", "leave")
)
_T = TypeVar("_T")


class QueueKeys(NamedTuple):
    """Where a queue stands; streams and delayed messages in the order of PRIORITIES."""

    streams: tuple[str, ...]
    later: tuple[str, ...]
    dead: str

    def stream(self, priority: Priority) -> str:
        """The stream of a priority."""
        return self.streams[PRIORITIES.index(priority)]

    def pairs(self, order: Sequence[Priority] = PRIORITIES) -> list[str]:
        """Stream and delayed messages of each priority."""
        places = [PRIORITIES.index(priority) for priority in order]
        return [key for at in places for key in (self.streams[at], self.later[at])]


@lru_cache(maxsize=4096)
def keys_of(prefix: str, queue: str) -> QueueKeys:
    """The keys of a queue, whatever its name is."""
    base = f"{{{prefix}:{escape(queue)}}}:v1:"
    streams = tuple(base + priority for priority in PRIORITIES)
    return QueueKeys(streams, tuple(f"{key}:later" for key in streams), f"{base}dead")


def messages_of(queue: str, order: Sequence[Priority], reply: Sequence[Any]) -> list[Message]:
    """What READ or CLAIM delivered; ``order`` is that of the keys in the call."""
    parts = iter(reply)
    return [
        Message(queue, body, handle.decode(), order[at - 1], deliveries, int(handle.partition(b"-")[0]))
        for at, handle, deliveries, body in zip(parts, parts, parts, parts, strict=True)
    ]


def from_ms(milliseconds: int) -> datetime:
    """A time by the server's clock."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def in_chunks(items: Sequence[_T], size: int) -> Iterator[list[_T]]:
    """Parts of at most ``size``: a script holds up all other callers of the server while it runs."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
