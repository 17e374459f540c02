"""Keeps one connection: makes it, notices that it is bad, fails calls quickly, and makes the next."""

import asyncio
import os
import weakref
from collections.abc import Iterable
from typing import final

import structlog
from libvalkey import pack_command

from app.core.observability import EventHub, StoreEvent
from app.core.resilience import CircuitBreaker, Clock
from app.core.valkey._address import Address
from app.core.valkey._backoff import Backoff
from app.core.valkey._budgets import OwnBudgets, fail
from app.core.valkey._errors import StoreDown, StoreError, StoreOverloaded, StoreReplyError
from app.core.valkey._refusals import Refusals
from app.core.valkey._script import Script
from app.core.valkey._wire import Future, Wire

log = structlog.get_logger(__name__)
_links: weakref.WeakSet["Link"] = weakref.WeakSet()


@final
class Link:
    """The state behind a client. ``wire`` is the connection that calls may use, or None.

    Without a wire, a call either waits in ``_queue`` (the first attempt after a start or a loss is under way)
    or fails at once (``_failing`` says why). The background task that connects exists only while there is no
    wire.
    """

    def __init__(
        self,
        address: Address,
        *,
        timeout_s: float,
        max_pending: int,
        client_name: str,
        connect_timeout_s: float,
        hub: EventHub,
        clock: Clock,
    ) -> None:
        self.wire: Wire | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.clock = clock
        self.connect_timeout_s = connect_timeout_s
        self._address = address
        self._timeout_s = timeout_s
        self._max_pending = max_pending
        self._client_name = client_name
        self._hub = hub
        self.refusals = Refusals(hub, clock, str(address))
        self._breaker = CircuitBreaker(failures=5, clock=clock)
        self._backoff = Backoff(clock)
        self._scripts: dict[str, Script] = {}
        self._queue: list[tuple[Future, bytes, Script | None]] = []
        self._wires: set[Wire] = set()
        self._own: OwnBudgets | None = None
        self._connector: asyncio.Task[None] | None = None
        self._failing: str | None = None
        self._closed = False
        self._forked = False
        self._told: str | None = None
        _links.add(self)

    # Calls

    def check(self) -> None:
        """Refuse a call from a wrong place, or while the server is known to be away."""
        if self._forked:
            raise RuntimeError("this Valkey client was made before a fork; make one in each process")
        if self._closed:
            raise StoreDown("the Valkey client is closed")
        loop = asyncio.get_running_loop()
        if self.loop is None:
            self.loop = loop
            self._own = OwnBudgets(loop, self._one_timed_out)
        elif self.loop is not loop:
            raise RuntimeError("this Valkey client belongs to another event loop; make one in each loop")
        if self.wire is None and self._failing is not None:
            raise StoreDown(self._failing)

    def send(self, packed: bytes, script: Script | None) -> Future:
        """Send one packed command, or queue it while connecting."""
        self.check()
        return self.queue(packed, script) if self.wire is None else self.wire.send(packed, script)

    def queue(self, packed: bytes, script: Script | None) -> Future:
        """Hold a command until the connection is made; its budget runs meanwhile.

        It is sent only if it still has time then.
        """
        assert self.loop is not None  # noqa: S101 - check() has run
        if len(self._queue) >= self._max_pending:
            raise StoreOverloaded
        future: Future = self.loop.create_future()
        self.give_budget(future, self._timeout_s)
        self._queue.append((future, packed, script))
        self._start_connecting()
        return future

    def give_budget(self, future: Future, seconds: float) -> None:
        """Give one call a budget of its own, in seconds.

        A miss counts against the store only if it is not shorter than the usual one.
        """
        assert self._own is not None  # noqa: S101 - check() has run
        self._own.give(future, seconds, counts=seconds >= self._timeout_s)

    def remember(self, scripts: Iterable[Script]) -> None:
        """Load these on every connection."""
        self._scripts.update((script.sha, script) for script in scripts)

    # What the connection reports

    def wire_lost(self, wire: Wire, reason: str) -> None:
        """The server closed the connection, or we dropped it."""
        self._wires.discard(wire)
        if wire is self.wire:
            self.wire = None
            self._tell("down", reason)
            self._start_connecting()

    def wire_unwell(self, failures: int, answered: int) -> None:
        """Timeouts or an unwell server: count, and give up the connection after too many in a row."""
        permit = self._breaker.permit
        if answered > 0:
            permit.succeeded()
        for _ in range(failures):
            permit.failed()
        if not self._breaker.is_closed:
            self._give_up("Valkey does not answer")

    def _one_timed_out(self) -> None:
        self.wire_unwell(1, 0 if self.wire is None else self.wire.take_good())

    def _give_up(self, reason: str) -> None:
        wire, self.wire = self.wire, None
        self._fail_fast(reason)
        if wire is not None:
            wire.abort(reason)
        self._start_connecting()

    def _fail_fast(self, reason: str) -> None:
        """From now on calls fail without waiting, and so do those in the queue."""
        self._failing = reason
        waiting, self._queue = self._queue, []
        for future, _, _ in waiting:
            fail(future, StoreDown(reason))
        self._tell("down", reason)

    def _tell(self, state: str, reason: str | None) -> None:
        if state != self._told:
            self._told = state
            write = log.info if state == "up" else log.warning
            write(f"store.{state}", server=str(self._address), reason=reason)
            self._hub.emit(StoreEvent(state, reason))

    # Connecting

    def _start_connecting(self) -> None:
        if self._connector is None and not self._closed and self.loop is not None:
            self._connector = self.loop.create_task(self._connect_until_up(), name="valkey-connect")

    async def _connect_until_up(self) -> None:
        """Knock until the server lets us in.

        The first attempt comes at once, unless the last connection died young.
        """
        try:
            while not await self._attempt(self._backoff.next_delay()):
                pass
        finally:
            self._connector = None

    async def _attempt(self, delay_s: float) -> bool:
        if delay_s:
            if self._failing is None:
                self._fail_fast("the connection was lost again")
            await asyncio.sleep(delay_s)
        try:
            wire = await self._connect()
        except Exception as error:  # noqa: BLE001 - the task's outermost frame: it must outlive any failure
            self._breaker.trip()
            self._fail_fast(_reason(error))
            return False
        self._came_up(wire)
        return True

    async def _connect(self) -> Wire:
        assert self.loop is not None  # noqa: S101 - set before the task starts
        assert self._own is not None  # noqa: S101
        wire = Wire(self.loop, self, self._own, timeout_s=self._timeout_s, max_pending=self._max_pending)
        self._wires.add(wire)
        try:
            async with asyncio.timeout(self.connect_timeout_s):
                await self._address.open(self.loop, lambda: wire)
                await self._handshake(wire)
            # It may have been lost since the last answer; connection_lost has run then and will not run again.
            wire.ensure_alive()
        except BaseException:
            wire.abort("connecting failed")
            if wire.gone is None:
                self._wires.discard(wire)
            raise
        return wire

    async def _handshake(self, wire: Wire) -> None:
        """Credentials, database, a sign of life (which fails while data is loading), name, scripts; pipelined."""
        needed = [self._handshake_call(wire, *command) for command in self._greeting()]
        name = self._handshake_call(wire, "CLIENT", "SETNAME", self._client_name)
        loads = [
            self._handshake_call(wire, "SCRIPT", "LOAD", script.encoded) for script in self._scripts.values()
        ]
        for answer in needed:
            await answer
        for outcome in await asyncio.gather(name, *loads, return_exceptions=True):
            if isinstance(outcome, StoreReplyError):
                # Not fatal: a name is a comfort, and a script that is not loaded is sent as source when it is
                # called.
                log.warning("store.handshake_incomplete", server=str(self._address), reason=str(outcome))

    def _greeting(self) -> list[tuple[str | int, ...]]:
        address = self._address
        commands: list[tuple[str | int, ...]] = []
        if address.password is not None:
            commands.append(("AUTH", *([address.username] if address.username else []), address.password))
        if address.db:
            commands.append(("SELECT", address.db))
        return [*commands, ("PING",)]

    def _handshake_call(self, wire: Wire, *args: bytes | str | int) -> Future:
        assert self.loop is not None  # noqa: S101 - set before the task starts
        assert self._own is not None  # noqa: S101
        future: Future = self.loop.create_future()
        self._own.give(future, self.connect_timeout_s, counts=False)
        wire.enqueue(future, pack_command(args), None)
        return future

    def _came_up(self, wire: Wire) -> None:
        self._breaker.reset()
        self._backoff.connected()
        self._failing = None
        wire.take_good()  # a greeting says nothing about calls
        self.wire = wire
        waiting, self._queue = self._queue, []
        for future, packed, script in waiting:
            if not future.done():
                wire.enqueue(future, packed, script)
        self._tell("up", None)

    # Ending

    async def close(self) -> None:
        """Fail what waits, end the task, wait until the sockets are gone."""
        if self._closed or self._forked:
            return
        self._closed = True
        self.wire = None
        self._told = "down"
        self._fail_fast("the Valkey client is closed")
        if (connector := self._connector) is not None:
            connector.cancel()
            await asyncio.wait([connector])
        for wire in list(self._wires):
            wire.abort("the Valkey client is closed")
            if wire.gone is not None:
                await wire.gone

    def forget_after_fork(self) -> None:
        """In a forked child: the socket belongs to the parent, so nothing may be sent or closed here."""
        self._forked = True
        self.wire = None


def _reason(error: Exception) -> str:
    """Why connecting failed, without addresses or credentials."""
    if isinstance(error, StoreReplyError):
        return f"the handshake was refused: {error.reason}"
    if isinstance(error, StoreError):
        return error.reason
    if isinstance(error, TimeoutError):
        return "connecting took too long"
    if isinstance(error, OSError):
        return f"cannot connect: {error.__class__.__name__}"
    return f"cannot connect: unexpected {error.__class__.__name__}"


def _after_fork() -> None:
    for link in list(_links):
        link.forget_after_fork()


os.register_at_fork(after_in_child=_after_fork)
