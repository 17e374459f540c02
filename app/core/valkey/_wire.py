"""One connection: commands go out in order, answers come back in order, a queue of futures matches them.

What makes it quick: a C packer and a C parser, one write for many calls, no task, timer or lock per call.
"""

import asyncio
import itertools
import time
from collections import deque
from typing import Any, Protocol, cast, final

from libvalkey import ProtocolError, Reader, ReplyError

from app.core.valkey._budgets import GRACE_S, OwnBudgets, fail
from app.core.valkey._errors import UNWELL, StoreDown, StoreOverloaded, StoreTimeout, error_code
from app.core.valkey._refusals import Refusals
from app.core.valkey._script import Script

Reply = Any
Future = asyncio.Future[Reply]
_MORE = object()
# Bytes that may wait in the transport before calls are refused; ten thousand calls of a gate fit.
_HIGH_WATER = 16 * 1024 * 1024
# Calls go out together when the loop's turn ends, or as soon as there are so many of them. Their answers come together too,
# and the requests go on together: with 32 callers a gated request costs 7 us of CPU less than with a first call that goes
# out at once and writes of 8, one with everything on 28 us (docs/adr/0011).
_BURST = 32


class WireOwner(Protocol):
    """Who is told about a connection's health, and what the server refuses."""

    refusals: Refusals

    def wire_lost(self, wire: "Wire", reason: str) -> None:
        """The connection is gone; all its calls have failed already."""

    def wire_unwell(self, failures: int, answered: int) -> None:
        """``failures`` calls timed out or met an unwell server, after ``answered`` good answers."""


@final
class Wire(asyncio.Protocol):
    """A pipelined connection to one server.

    ``timeout_s`` is every call's budget, so deadlines expire in the order of the queue and one timer watches
    the oldest. It is kept per write, not per call: all calls of one turn of the loop share a deadline. A call
    that is cancelled or times out leaves its slot in the queue, so that its late answer is dropped and never
    handed to another call.
    """

    # fmt: off
    __slots__ = (
        "_batches", "_create_future", "_dropped", "_gets", "_good", "_grace_end", "_limit", "_loop",
        "_max_pending", "_out", "_own", "_owner", "_paused", "_reader", "_received", "_scheduled", "_seen", "_sent",
        "_timeout_s", "_timer", "_transport", "_unwell", "_waiting", "gone", "lost_reason",
    )
    # fmt: on

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        owner: WireOwner,
        own: OwnBudgets,
        *,
        timeout_s: float,
        max_pending: int,
    ) -> None:
        self._loop = loop
        self._owner = owner
        self._own = own
        self._timeout_s = timeout_s
        self._max_pending = self._limit = max_pending
        self._create_future = loop.create_future
        self._reader = Reader(notEnoughData=_MORE)
        self._gets = self._reader.gets
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._paused = False
        self._scheduled = False
        self._waiting: deque[tuple[Future, bytes, Script | None]] = deque()
        # (calls sent up to and with this write, counted from the connection's start; their deadline)
        self._batches: deque[tuple[int, float]] = deque()
        self._sent = self._received = self._good = self._dropped = self._unwell = 0
        self._timer: asyncio.TimerHandle | None = None
        self._grace_end: float | None = None
        self._seen = 0
        self.lost_reason: str | None = None
        self.gone: asyncio.Future[None] | None = None

    # Sending

    def send(self, packed: bytes, script: Script | None = None) -> Future:
        """Send one packed command.

        Raises ``StoreOverloaded`` at once when too many calls wait, or the socket takes no more.
        """
        if len(self._waiting) >= self._limit:
            raise StoreOverloaded
        future = self._create_future()
        self.enqueue(future, packed, script)
        return future

    def enqueue(self, future: Future, packed: bytes, script: Script | None) -> None:
        """Send one packed command whose answer goes to ``future``."""
        out = self._out
        out.append(packed)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        elif len(out) >= _BURST:
            self._flush_now()
        self._waiting.append((future, packed, script))

    def _flush(self) -> None:
        self._scheduled = False
        self._flush_now()

    def _flush_now(self) -> None:
        out = self._out
        if out:
            self._out = []
            self._write(b"".join(out), len(out))

    def _write(self, data: bytes, calls: int) -> None:
        if self._transport is not None:
            self._sent += calls
            self._batches.append((self._sent, time.monotonic() + self._timeout_s))
            if self._timer is None:
                self._timer = self._loop.call_later(self._timeout_s, self._on_timer)
            self._transport.write(data)
            if self._paused and self._transport.get_write_buffer_size() > _HIGH_WATER:
                self._limit = 0

    def pause_writing(self) -> None:
        """The socket takes no more for now; ``_write`` refuses calls once too many bytes wait."""
        self._paused = True

    def resume_writing(self) -> None:
        """All that waited has gone out."""
        self._paused = False
        self._limit = self._max_pending

    # Receiving
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # A cast, because uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        self.gone = self._loop.create_future()
        if self.lost_reason is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand each complete answer to the oldest waiting call."""
        gets, take = self._gets, self._waiting.popleft
        before = self._received
        try:
            self._reader.feed(data)
            while (reply := gets()) is not _MORE:
                future, packed, script = take()
                self._received += 1
                if reply.__class__ is ReplyError:
                    self._refuse(future, packed, script, str(reply))
                elif not future.done():
                    future.set_result(reply)
                else:
                    self._dropped += 1
        except (ProtocolError, IndexError):
            # Not RESP, or an answer nobody asked for: the order is lost, so no later answer can be trusted.
            self.abort("the server does not speak the protocol")
            return
        batches = self._batches
        while batches and batches[0][0] <= self._received:
            batches.popleft()
        self._good += self._received - before
        if self._dropped or self._unwell:
            self._discount()

    def _discount(self) -> None:
        """Late answers are not good ones (a store that always answers late is as good as down), nor are those
        of an unwell server.
        """
        self._good -= self._dropped + self._unwell
        failures, self._dropped, self._unwell = self._unwell, 0, 0
        if failures:
            self._report(failures)

    def _refuse(self, future: Future, packed: bytes, script: Script | None, text: str) -> None:
        """An error reply.

        An unknown script is sent once more as source; the same call, within the same budget.
        """
        code = error_code(text)
        if code == "NOSCRIPT" and script is not None and not future.done():
            head = b"$7\r\nEVALSHA\r\n$40\r\n%b\r\n" % script.sha.encode()
            # False the second time, when it went out as EVAL: then it is an error and not a loop.
            if head in packed[:80]:
                self._resend(future, packed, head, script)
                return
        fail(future, self._owner.refusals.error_of(text, script.name if script is not None else None))
        if code in UNWELL:
            self._unwell += 1

    def _resend(self, future: Future, packed: bytes, head: bytes, script: Script) -> None:
        deadline = next((end for number, end in self._batches if number >= self._received), None)
        if deadline is not None and future not in self._own:
            left = deadline - time.monotonic()
            # As in _on_timer: a loop that was too busy to see the refusal in time is not the store's fault.
            self._own.give(future, left if left > 0 else min(-left, self._timeout_s), counts=True)
        source = b"$4\r\nEVAL\r\n$%d\r\n%b\r\n" % (len(script.encoded), script.encoded)
        self.enqueue(future, packed.replace(head, source, 1), script)

    # Time
    def _on_timer(self) -> None:
        """Time out the oldest calls, but only after the loop has looked at the socket once more.

        uvloop runs timers before it polls, so after anything that blocks the loop the timer fires while the
        answer already lies in the socket. A busy process must not look like a slow store: wait one short
        turn, and go on as long as answers keep coming, at most as long as the loop was late.
        """
        self._timer = None
        if not self._batches:
            self._grace_end = None
            return
        now = time.monotonic()
        late = now - self._batches[0][1]
        if late < 0:
            self._grace_end = None
            self._arm(-late)
        elif self._grace_end is None or (self._received != self._seen and now < self._grace_end):
            if self._grace_end is None:
                self._grace_end = now + min(late, self._timeout_s)
            self._seen = self._received
            self._arm(GRACE_S)
        else:
            self._grace_end = None
            self._expire(now)

    def _arm(self, delay_s: float) -> None:
        self._timer = self._loop.call_later(delay_s, self._on_timer)

    def _expire(self, now: float) -> None:
        batches, number = self._batches, self._received
        while batches and batches[0][1] <= now:
            number = batches.popleft()[0]
        if batches:
            self._arm(batches[0][1] - now)
        failures = 0
        for future, _, _ in itertools.islice(self._waiting, number - self._received):
            if not future.done() and future not in self._own:
                fail(future, StoreTimeout())
                failures += 1
        if failures:
            self._report(failures)

    def _report(self, failures: int) -> None:
        self._owner.wire_unwell(failures, self.take_good())

    def take_good(self) -> int:
        """How many good answers came since this was last asked."""
        good, self._good = self._good, 0
        return good

    # Ending
    def ensure_alive(self) -> None:
        """Raise ``StoreDown`` if the connection has ended."""
        if self.lost_reason is not None:
            raise StoreDown(self.lost_reason)

    def abort(self, reason: str) -> None:
        """Drop the connection now; every waiting call fails with ``StoreDown``."""
        self.lost_reason = self.lost_reason or reason
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._fail_all(self.lost_reason)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Fail what waits. Nothing is sent again: a script may have run, and scripts are not idempotent."""
        reason = self.lost_reason = self.lost_reason or "the connection was lost"
        self._fail_all(reason)
        self._transport = None
        if self.gone is not None and not self.gone.done():
            self.gone.set_result(None)
        self._owner.wire_lost(self, reason)

    def _fail_all(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        waiting = list(self._waiting)
        self._waiting.clear()
        self._batches.clear()
        self._out.clear()
        for future, _, _ in waiting:
            fail(future, StoreDown(reason))
