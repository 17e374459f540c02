"""The client: what callers use.

Connecting, failing fast and recovering are in ``_link``; the connection itself in ``_wire``.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import valkey.asyncio
from libvalkey import pack_command

from app.core.observability import EventHub
from app.core.resilience import Clock, SystemClock
from app.core.valkey._address import Address
from app.core.valkey._link import Link
from app.core.valkey._script import Script

Part = bytes | str | int
_running_loop = asyncio.get_running_loop
# These change the connection for every later caller, or hold up all callers behind them.
# fmt: off
_UNSHAREABLE = frozenset({
    "AUTH", "BLMOVE", "BLMPOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZMPOP", "BZPOPMAX", "BZPOPMIN",
    "DISCARD", "EXEC", "HELLO", "MONITOR", "MULTI", "PSUBSCRIBE", "PSYNC", "QUIT", "RESET", "SELECT",
    "SSUBSCRIBE", "SUBSCRIBE", "SYNC", "UNWATCH", "WAIT", "WAITAOF", "WATCH",
})
# fmt: on
_MAY_BLOCK = frozenset({"XREAD", "XREADGROUP"})


class ValkeyClient:
    """Valkey over one shared connection on which all callers' commands are pipelined.

    ``url``: ``valkey://user:password@host:port/db``, also ``valkeys://`` (TLS), ``redis://``, ``rediss://``,
    ``unix://``. ``timeout_s``: seconds that each call may take, from its submission; 0.025 by default.
    ``max_pending``: calls that may wait for an answer before new ones are refused. ``connect_timeout_s``:
    seconds for connecting, with handshake. ``hub`` receives ``StoreEvent``.

    It connects at the first call. When the server is lost, what waits fails with ``StoreDown`` and is never
    sent again by itself, because a script may have run already. One reconnection is tried at once, and calls
    made meanwhile wait for it within their budget; after that, and after 5 timeouts in a row, calls fail
    without waiting while a background task knocks at least once in 2 seconds. Timeouts in a row replace the
    connection: its unanswered calls go with it, which bounds memory and needs no matching of very late
    answers.

    A client belongs to one event loop and one process: another loop, or a forked child, gets a
    ``RuntimeError``. Not for commands that block or that change the connection (``BLPOP``, ``SUBSCRIBE``,
    ``MULTI``, ``SELECT``): use ``blocking()``.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 0.025,
        max_pending: int = 10_000,
        client_name: str = "gatehouse",
        connect_timeout_s: float = 1.0,
        hub: EventHub | None = None,
        clock: Clock | None = None,
    ) -> None:
        if timeout_s <= 0 or connect_timeout_s <= 0:
            raise ValueError("timeout_s and connect_timeout_s must be more than 0 seconds")
        if max_pending < 1:
            raise ValueError("max_pending must be 1 or more")
        if not client_name.isascii() or not client_name.isprintable() or " " in client_name:
            raise ValueError("client_name must be printable ASCII without spaces")
        self._url = url
        self._name = client_name
        self._address = Address.parse(url)
        self._link = Link(
            self._address,
            timeout_s=timeout_s,
            max_pending=max_pending,
            client_name=client_name,
            connect_timeout_s=connect_timeout_s,
            hub=hub or EventHub(),
            clock=clock or SystemClock(),
        )

    def __repr__(self) -> str:
        return f"<ValkeyClient {self._address} {'up' if self.is_up else 'down'}>"

    @property
    def is_up(self) -> bool:
        """Whether calls would be sent now. False before the first call."""
        return self._link.wire is not None

    def submit(
        self, script: Script, keys: Sequence[Part] = (), args: Sequence[Part] = ()
    ) -> asyncio.Future[Any]:
        """Call a script; await the future for its reply (bytes, int, None, or a list of these). The quickest
        way: no coroutine.

        Raises ``StoreDown`` or ``StoreOverloaded`` at once when nothing was sent; the future raises
        ``StoreDown``, ``StoreTimeout`` or ``StoreReplyError``. Raises ``TypeError`` for a key or argument of
        another type.
        """
        return self.submit_packed(script, pack_command(("EVALSHA", script.sha, len(keys), *keys, *args)))

    def submit_packed(
        self, script: Script, packed: bytes, *, timeout_s: float | None = None
    ) -> asyncio.Future[Any]:
        """The same for a call that is there as bytes already, such as ``PackedCall`` makes them. ``timeout_s`` replaces the client's
        budget.
        """
        link = self._link
        wire = link.wire
        if wire is None or _running_loop() is not link.loop:
            link.check()
        future = link.queue(packed, script) if wire is None else wire.send(packed, script)
        if timeout_s is not None:
            link.give_budget(future, timeout_s)
        return future

    async def run(
        self,
        script: Script,
        keys: Sequence[Part] = (),
        args: Sequence[Part] = (),
        *,
        timeout_s: float | None = None,
    ) -> Any:
        """Call a script and wait for its reply.

        ``timeout_s`` replaces the client's budget. Raises as ``submit`` does.
        """
        future = self.submit(script, keys, args)
        if timeout_s is not None:
            self._link.give_budget(future, timeout_s)
        return await future

    async def execute(self, *args: Part, timeout_s: float | None = None) -> Any:
        """Send one command and wait for its reply. ``timeout_s`` replaces the client's budget.

        Raises as ``submit`` does, and ``ValueError`` for a command that cannot share a connection.
        """
        _refuse_unshareable(args)
        future = self._link.send(pack_command(args), None)
        if timeout_s is not None:
            self._link.give_budget(future, timeout_s)
        return await future

    async def ping(self, *, timeout_s: float | None = None) -> float:
        """Ask the server for a sign of life; the seconds it took. Raises ``StoreError``."""
        clock = self._link.clock
        start = clock.monotonic()
        await self.execute("PING", timeout_s=timeout_s)
        return clock.monotonic() - start

    async def preload(self, scripts: Iterable[Script]) -> None:
        """Load scripts now and on every later connection, so that calls do not pay for it.

        Raises ``StoreError`` when the store is away; the scripts are remembered all the same. Raises
        ``StoreReplyError`` for a script that does not compile.
        """
        wanted = list(scripts)
        self._link.remember(wanted)
        loads = [
            self.execute("SCRIPT", "LOAD", script.encoded, timeout_s=self._link.connect_timeout_s)
            for script in wanted
        ]
        for outcome in await asyncio.gather(*loads, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    def blocking(self) -> valkey.asyncio.Valkey:
        """An ordinary client of the same server, without socket timeout, for blocking commands, transactions
        and pub/sub.

        The caller closes it (``aclose()``). Do not use it in a request's way: it has no budget and no
        breaker.
        """
        options: dict[str, Any] = {"ssl_check_hostname": True} if self._address.tls is not None else {}
        client: valkey.asyncio.Valkey = valkey.asyncio.Valkey.from_url(
            self._url, socket_timeout=None, client_name=self._name, **options
        )
        return client

    async def close(self) -> None:
        """Fail what waits with ``StoreDown``, drop the connection and end the background task.

        Calling it again does nothing.
        """
        await self._link.close()


def _refuse_unshareable(args: tuple[Part, ...]) -> None:
    if not args:
        raise ValueError("a command is missing")
    word = args[0]
    name = (word.decode("ascii", "replace") if isinstance(word, bytes) else str(word)).upper()
    blocks = name in _MAY_BLOCK and any(str(part).upper() in {"BLOCK", "B'BLOCK'"} for part in args)
    if blocks or name in _UNSHAREABLE:
        raise ValueError(f"{name} cannot share a connection with other callers; use blocking()")
