"""Questions to ADMIT with one line each, and a store whose time the test sets."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from app.core.context import Principal
from app.core.policies import (
    Admission,
    Admitter,
    Allowance,
    Ask,
    Caller,
    Claim,
    Hold,
    Lookup,
    Plan,
    RateLimit,
    Slot,
)
from app.core.resilience import SystemClock
from app.core.valkey import Script, StoreDown, StoreTimeout, ValkeyClient

ALICE = Caller(Principal("alice"), "192.0.2.1")
P = "{u:alice}"
ACCOUNT = f"{P}:v1:c"
HOUR_MS = 3_600_000
_LIVES = Script(
    "lives",
    """#!lua flags=allow-cross-slot-keys
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
    found[#found + 1], found[#found + 2] = key, redis.call('PTTL', key)
end
return found
""",
)
FAR = 1_000_000.0
CREDIT = 1_000_000
WIDE = RateLimit.fixed_window("wide", limit=1000, window=FAR)
NO_LIMITS = Plan("orders", [])
LIMITED = Plan("orders", [WIDE])


def claim(key: str = "k", fingerprint: str = "f", **changes: Any) -> Claim:
    options: dict[str, Any] = {"lease_ms": 10_000, "retention_ms": HOUR_MS, "rerun": True}
    return Claim(f"{P}:v1:i:orders:{key}", fingerprint, **{**options, **changes})


def lookup(key: str = "e", tags: Sequence[str] = (), **changes: Any) -> Lookup:
    tag_keys = tuple(f"{{tag:{tag}}}:v1:t" for tag in tags)
    return Lookup(f"{P}:v1:e:orders:{key}", tag_keys, **{"lease_ms": 10_000, **changes})


def quota(limit: int = 10, *, end_ms: int, cost: int = 1, shadow: bool = False, **changes: Any) -> Allowance:
    options: dict[str, Any] = {"on_store_down": "local", "name": "day"}
    options |= changes
    return Allowance(f"{P}:v1:q:orders.{options['name']}:d1", end_ms, limit, cost, shadow, **options)


def slot(most: int = 1, lease_ms: int = 10_000, *, shadow: bool = False, **changes: Any) -> Slot:
    options: dict[str, Any] = {"on_store_down": "local", "name": "at_once", "scope": "user"}
    options |= changes
    return Slot(f"{P}:v1:s:orders.{options['name']}", most, lease_ms, shadow, **options)


def hold(amount: int = 1, *, key: str = "s", lease_ms: int = 10_000, shadow: bool = False) -> Hold:
    return Hold(ACCOUNT, amount * CREDIT, lease_ms, key, shadow)


class TimedStore:
    """The real scripts with their clock taken out: the time is what ``at`` says.

    ``lose`` answers get lost after they were given, and ``when_lost`` is done then. ``delay`` calls time out before they run; ``run_late``
    runs them. ``down``: nothing answers.
    """

    def __init__(self, store: ValkeyClient, start: float = 1_800_000_000.0) -> None:
        self.store = store
        self.now = start
        self.lose = 0
        self.when_lost: Callable[[], Awaitable[object]] | None = None
        self.delay = 0
        self.down = False
        self._late: list[tuple[Script, Sequence[str], Sequence[bytes]]] = []
        self.calls: list[str] = []
        self._scripts: dict[str, Script] = {}

    async def at(self, second: float) -> None:
        self.now = 1_800_000_000.0 + second
        micro = round(self.now * 1_000_000)
        await self.store.execute("DEL", "test:now")
        await self.store.execute("RPUSH", "test:now", micro // 1_000_000, micro % 1_000_000)

    @property
    def now_ms(self) -> int:
        return round(self.now * 1000)

    async def submit(self, script: Script, keys: Sequence[str], args: Sequence[bytes]) -> bytes:
        return await self.run(script, keys, args, timeout_s=2.0)

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[bytes], *, timeout_s: float
    ) -> bytes:
        if self.down:
            raise StoreDown("gone")
        if self.delay:
            self.delay -= 1
            self._late.append((script, keys, args))
            raise StoreTimeout
        if script.name not in self._scripts:
            source = script.source.replace("redis.call('TIME')", "redis.call('LRANGE', 'test:now', 0, -1)")
            # A stored answer of 1 ms would be gone before anybody asks for it, though no time has passed for the scripts.
            source = source.replace("int(stale - ms + 1)", "int(stale - ms + 600001)")
            self._scripts[script.name] = Script(script.name, source)
        self.calls.append(script.name)
        reply: bytes = await self.store.run(self._scripts[script.name], keys, args)
        if self.lose:
            self.lose -= 1
            if self.when_lost is not None:
                await self.when_lost()
            raise StoreDown("lost")
        return reply

    async def run_late(self) -> list[bytes]:
        return [await self.submit(*call) for call in self._late]


async def fund(store: ValkeyClient, amount: int, version: int = 1) -> None:
    """The account is in the store with this balance and no holds."""
    await store.execute("HSET", ACCOUNT, "b", amount * CREDIT, "v", version, "h", 0)
    await store.execute("PEXPIRE", ACCOUNT, HOUR_MS)


async def timed(store: ValkeyClient) -> tuple[Admitter, TimedStore]:
    time = TimedStore(store)
    await time.at(0)
    return Admitter(time, clock=SystemClock()), time


async def ask_times(admitter: Admitter, times: int, ask: Ask, plan: Plan = NO_LIMITS) -> list[Admission]:
    return await asyncio.gather(*(admitter.admit(plan, ALICE, None, ask) for _ in range(times)))


async def lives(store: ValkeyClient) -> dict[str, int]:
    """Every key with its life time in ms (-1: it never ends; 1 also for what has less)."""
    found = await store.run(_LIVES)
    lives = {key.decode(): life or 1 for key, life in zip(found[::2], found[1::2], strict=True)}
    lives.pop("test:now", None)
    return lives
