"""What carries jobs to the workers: any broker that can do this. PostgreSQL keeps the truth; a broker only says what to look at next."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Protocol, get_args

Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)


class Parcel(NamedTuple):
    """A message to publish. ``body`` is opaque to the broker, at most 64 KiB."""

    queue: str
    body: bytes
    priority: Priority = "normal"


class Message(NamedTuple):
    """A message that was delivered. ``handle`` is the broker's own name of this delivery; ``deliveries`` how often it came, 1 the first
    time.

    ``published_ms``: when it was published, in milliseconds since 1970, by the broker's clock. It stays what it was when a message comes
    again; one that was dead is published anew.
    """

    queue: str
    body: bytes
    handle: str
    priority: Priority
    deliveries: int
    published_ms: int

    @property
    def published_at(self) -> datetime:
        """The same as a time."""
        return datetime.fromtimestamp(self.published_ms / 1000, UTC)


class QueueDepth(NamedTuple):
    """How a queue stands: messages that wait (also for their delay), that were delivered and are not acked, that are dead; ``oldest`` is
    when the oldest of those that wait or are not acked was published (None: there is none), by the broker's clock. Whatever was published
    before that time is done with, dead or lost.
    """

    waiting: int
    unacked: int
    dead: int
    oldest: datetime | None


class JobBroker(Protocol):
    """Queues of messages, each delivered to one reader until it is acked. Delivery is at least once; order is that of publishing within one
    priority, when nothing fails. A broker that lost all its data is an empty one, not an error. Every method raises Unavailable (503) while
    the broker cannot be reached; what was asked may then have happened. A queue has any name; it is there once something uses it.
    """

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Put them into their queues, in order; all of one call in one round trip. Raises ValueError for a body that is too large, before
        anything is published.
        """

    async def read(self, queue: str, most: int, wait_s: float) -> list[Message]:
        """Up to ``most`` (1 or more) messages of a queue, the more urgent first; a low priority gets its turn all the same. Waits for the
        first one up to ``wait_s`` seconds, 0: not at all; nobody else waits meanwhile. What is published is noticed at once, what is given
        back within a second. A cancelled call may have been delivered something: it comes again by ``claim_stale``.
        """

    async def ack(self, messages: Sequence[Message]) -> None:
        """They are done with and never come again. One that is not there any more is no error."""

    async def nack(self, messages: Sequence[Message], delay_s: float = 0.0) -> None:
        """Give them back: they come again, to anybody, after ``delay_s`` seconds (0 or more). Those that are acked or dead stay so."""

    async def extend(self, messages: Sequence[Message]) -> None:
        """They are still being worked on: the time after which they count as stale begins anew, unless somebody else has them by now."""

    async def claim_stale(self, queue: str, most: int) -> list[Message]:
        """Up to ``most`` (1 or more) messages whose reader has not acked, extended or given them back in the broker's time limit, delivered
        to us now. Call it now and then: brokers also clear away what readers leave that are gone.
        """

    async def dead_letter(self, message: Message, reason: str) -> None:
        """Put it aside, with the reason (at most 500 characters are kept): nobody can make sense of it. A broker may keep only the newest
        10,000 of a queue. Nothing happens to one that is acked or dead already.
        """

    async def replay(
        self, queue: str, most: int, *, since: datetime | None = None, until: datetime | None = None
    ) -> int:
        """Publish up to ``most`` dead messages again that were put aside in that time, the oldest first, under their priorities; how many.
        Both ends are included, None is open. What dies anew meanwhile stays dead. Raises ValueError for a time without a zone.
        """

    async def depth(self, queue: str) -> QueueDepth:
        """How a queue stands; one that nobody has used is empty."""

    async def close(self) -> None:
        """Give the connections back. What was delivered and not acked comes again."""
