"""Kill switch: endpoints that an operator has switched off, and breakers that he has set by hand, in every process within a second.

The truth is a table (builtin/policies); Valkey carries it to the processes; each keeps the last state it heard of, also while Valkey is
down or empty. The gate's question is a look into a dict.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import structlog

from app.core.errors import GatehouseError, Unavailable
from app.core.valkey import Script, StoreError

SWITCHES = Script.load("app.core.policies", "lua/switches.lua")
KEY = "{b:switches}:v1:off"
_VERSION = "@"
_BREAKER = "breaker:"
_LIFE_MS = 600_000
_PATIENCE_S = 0.3
_RETRY_AFTER_S = 60
_log = structlog.get_logger(__name__)


class EndpointDisabled(Unavailable):
    """An operator has switched this endpoint off. Why is for operators, not for callers."""

    def __init__(self, policy: str) -> None:
        super().__init__(
            "This endpoint is switched off for the time being.",
            retry_after=_RETRY_AFTER_S,
            extensions={"policy": policy, "reason": "endpoint_disabled"},
        )


class Switch(NamedTuple):
    """One thing set by hand. ``name``: a policy, or ``breaker:<dependency>``. ``state``: ``off`` for a policy, ``isolated`` or ``closed``
    for a breaker. ``at``: RFC 3339.
    """

    name: str
    state: str
    reason: str
    by: str
    at: str


class Board(NamedTuple):
    """Everything that is set by hand. ``version`` grows with each change, over all processes."""

    version: int
    switches: tuple[Switch, ...] = ()


class SwitchStore(Protocol):
    """The part of the Valkey client that switches need."""

    def execute(self, *args: str, timeout_s: float | None = None) -> Awaitable[Any]:
        """Send one command. Raises StoreError."""

    def run(
        self,
        script: Script,
        keys: Sequence[str] = (),
        args: Sequence[str | int] = (),
        *,
        timeout_s: float | None = None,
    ) -> Awaitable[Any]:
        """Run a script. Raises StoreError."""


class Switches:
    """What is switched off, as this process knows it. Belongs to one event loop.

    source: reads the table; asked only while this process has heard of nothing yet, because Valkey is down or was flushed. Raises a
        GatehouseError when it cannot.
    on_breaker: told ``(dependency, state)`` when a breaker is set by hand, ``auto`` when it is no longer.
    period_s: seconds between two looks at Valkey.
    """

    def __init__(
        self,
        store: SwitchStore,
        *,
        source: Callable[[], Awaitable[Board]] | None = None,
        on_breaker: Callable[[str, str], None] = lambda *_: None,
        period_s: float = 0.4,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._source = source
        self._on_breaker = on_breaker
        self._period_s = period_s
        self._sleep = sleep
        self._version: int | None = None
        self._switches: Mapping[str, Switch] = MappingProxyType({})
        self._task: asyncio.Task[None] | None = None
        self._has_complained = False

    def refusal(self, policy: str) -> EndpointDisabled | None:
        """Why a request to this policy's endpoints is not taken; None: it is. No I/O."""
        return EndpointDisabled(policy) if policy in self._switches else None

    def of(self, policy: str) -> Switch | None:
        """Who switched this policy off, when and why."""
        return self._switches.get(policy)

    def of_breaker(self, dependency: str) -> Switch | None:
        """Who set this dependency's breaker by hand."""
        return self._switches.get(_BREAKER + dependency)

    async def start(self) -> None:
        """Learn the state, if anybody can tell it, and look again every ``period_s`` from now on."""
        await self._look()
        self._task = asyncio.create_task(self._live(), name="policy switches")

    async def stop(self) -> None:
        """Look no more. What is known stays."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def refresh(self) -> None:
        """Look once. Raises StoreError when Valkey does not answer and this process knows a state already; it then keeps that."""
        try:
            board = _parse(await self._store.execute("HGETALL", KEY, timeout_s=_PATIENCE_S))
        except StoreError:
            if self._version is not None or self._source is None:
                raise
            board = None
        if board is None and self._version is None and self._source is not None:
            board = await self._source()
        if board is not None:
            self.take(board)

    def take(self, board: Board) -> None:
        """Let ``board`` hold in this process; one that is older than what holds is nothing new."""
        if self._version is not None and board.version < self._version:
            return
        before, after = self._switches, {switch.name: switch for switch in board.switches}
        self._version, self._switches = board.version, MappingProxyType(after)
        for name in [name for name in {**before, **after} if before.get(name) != after.get(name)]:
            self._changed(name, after.get(name))

    async def publish(self, board: Board) -> None:
        """Tell it to all processes, unless they know a newer state. Raises StoreError; this process knows it all the same."""
        self.take(board)
        fields = [part for switch in board.switches for part in (switch.name, _value(switch))]
        await self._store.run(SWITCHES, [KEY], [board.version, _LIFE_MS, *fields], timeout_s=_PATIENCE_S)

    def _changed(self, name: str, switch: Switch | None) -> None:
        state = switch.state if switch is not None else "auto" if name.startswith(_BREAKER) else "on"
        _log.warning("policy.switched", name=name, state=state, by=switch.by if switch is not None else None)
        if name.startswith(_BREAKER):
            self._on_breaker(name.removeprefix(_BREAKER), state)

    async def _live(self) -> None:
        while True:
            await self._sleep(self._period_s)
            await self._look()

    async def _look(self) -> None:
        try:
            await self.refresh()
        except GatehouseError:
            pass  # the store's client reports its outages; what is known holds
        except Exception:  # noqa: BLE001 - the outermost frame of a loop that must not end
            if not self._has_complained:
                _log.exception("policy.switches_failed")
            self._has_complained = True
        else:
            self._has_complained = False


def breaker_switch(dependency: str) -> str:
    """The name of a switch that sets a breaker."""
    return _BREAKER + dependency


def _value(switch: Switch) -> str:
    return json.dumps(switch._asdict(), sort_keys=True)


def _parse(reply: Any) -> Board | None:
    """The hash's fields; None for a hash that is not there."""
    parts = [part.decode() for part in reply]
    fields = dict(zip(parts[::2], parts[1::2], strict=True))
    version = fields.pop(_VERSION, None)
    if version is None:
        return None
    return Board(int(version), tuple(Switch(**json.loads(value)) for value in fields.values()))
