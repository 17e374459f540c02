"""ADMIT: one round trip that decides on every limit of a request, and what happens when the store does not answer."""

import os
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import count
from math import ceil
from typing import NamedTuple, Protocol

from app.core.context import Principal
from app.core.errors import PolicyRejected, Unavailable
from app.core.policies._keys import Caller
from app.core.policies._local import LocalCounters
from app.core.policies._plan import Plan
from app.core.policies._rate_limit import RateLimit
from app.core.resilience import Clock
from app.core.valkey import Script, StoreDown, StoreError

ADMIT = Script.load("app.core.policies", "lua/admit.lua")
_PATIENCE_S = 0.25
_RECEIPT_MS = b"10000"  # longer than any retry of the same call could take
_QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"


class LimitState(NamedTuple):
    """One limit after the decision. Times in seconds; ``retry_after`` -1 means never."""

    limit: RateLimit
    passed: bool
    remaining: int
    reset_after: float
    retry_after: float


class RateLimitExceeded(PolicyRejected):
    """One or more limits are used up. ``retry_after`` is when all of them would let this request pass."""

    type = _QUOTA_EXCEEDED


class LimitUnavailable(Unavailable):
    """A limit that must not be guessed cannot be checked, because the store does not answer."""

    def __init__(self, policy: str) -> None:
        super().__init__(
            "A limit of this endpoint cannot be checked now.",
            extensions={"policy": policy, "reason": "store_unavailable"},
        )


class Admission(NamedTuple):
    """What ADMIT said. ``numbers`` are the script's own: (passed, remaining, reset_us, retry_us) for each limit of ``plan``."""

    plan: Plan
    allowed: bool
    cause: int
    numbers: Sequence[int]
    degraded: bool

    @property
    def states(self) -> Iterator[LimitState]:
        """The limits one by one, for readers who are not in a hurry."""
        for i, limit in enumerate(self.plan.limits[: len(self.numbers) // 4]):
            passed, remaining, reset, retry = self.numbers[4 * i : 4 * i + 4]
            yield LimitState(
                limit, bool(passed), remaining, reset / 1e6, retry / 1e6 if retry > 0 else float(retry)
            )

    @property
    def cause_name(self) -> str | None:
        """The first limit that refused."""
        return self.plan.limits[self.cause - 1].name if self.cause else None

    @property
    def shadowed(self) -> tuple[str, ...]:
        """Limits in shadow mode that would have refused."""
        return tuple(s.limit.name for s in self.states if s.limit.shadow and not s.passed)

    @property
    def violated(self) -> tuple[str, ...]:
        """Every limit that refused, in order."""
        return tuple(s.limit.name for s in self.states if not s.passed and not s.limit.shadow)

    @property
    def wait_s(self) -> float:
        """Seconds until all limits that refused would let this request pass; 0 when none did."""
        return max((s.retry_after for s in self.states if not s.passed and not s.limit.shadow), default=0.0)

    def refusal(self, jitter: Callable[[], float] = random.random) -> RateLimitExceeded:
        """The error for a refused request. Its ``retry_after`` is ``wait_s`` in whole seconds, rounded up, at least 1, and up to a tenth
        more, so that refused callers do not come back all at once.
        """
        names, seconds = self.violated, max(1, ceil(self.wait_s * (1 + 0.1 * jitter())))
        return RateLimitExceeded(
            f"Used up: {', '.join(names)}. Try again in {seconds} s.",
            policy=self.plan.policy,
            violated=names,
            retry_after=seconds,
        )


class Store(Protocol):
    """The part of the Valkey client that ADMIT needs."""

    def submit(self, script: Script, keys: Sequence[str], args: Sequence[bytes]) -> Awaitable[bytes]:
        """Run a script once, within the store's budget; it or the wait for it raises StoreError."""

    def run(
        self, script: Script, keys: Sequence[str], args: Sequence[bytes], *, timeout_s: float
    ) -> Awaitable[bytes]:
        """The same with a budget of its own, in seconds."""


class Admitter:
    """Decides on requests and, with the same engine, on anything else that has a plan and a caller.

    replicas: API processes in all; while the store is down each enforces that part of a limit.
    """

    def __init__(self, store: Store, *, clock: Clock, replicas: int = 1) -> None:
        self._store = store
        self._clock = clock
        self._replicas = replicas
        self._local = LocalCounters()
        self._calls = count()
        self._boot = ""

    async def admit(self, plan: Plan, caller: Caller, costs: tuple[int, ...] | None = None) -> Admission:
        """Charge ``plan`` for ``caller``: one round trip, within the store's budget. A plan with a ``closed`` limit waits up to 0.25 s,
        because the alternative is to refuse.

        Raises LimitUnavailable (503) when the store is down and a limit is ``closed``; every other limit then degrades as it says.
        """
        costs = plan.costs if costs is None else costs
        keys = plan.keys(caller)
        try:
            reply = await self._ask(plan, keys, costs)
        except StoreError:
            return self._degraded(plan, keys, costs)
        verdict, cause, _, *numbers = map(int, reply.split())
        return Admission(plan, not verdict, cause, numbers, degraded=False)

    async def _ask(self, plan: Plan, keys: list[str], costs: tuple[int, ...]) -> bytes:
        # Never the caller's X-Request-ID: a receipt answers a repeated id without charging, so ids must be ours alone. Made with the
        # first call and not with the object: processes forked in between must not share it.
        self._boot = self._boot or os.urandom(8).hex()
        slot = keys[0][: keys[0].index("}") + 1]
        names = [f"{slot}:v1:r:{self._boot}{next(self._calls):x}", *keys]
        values = (_RECEIPT_MS, *plan.arguments(costs))
        if plan.has_closed:
            return await self._store.run(ADMIT, names, values, timeout_s=_PATIENCE_S)
        try:
            return await self._store.submit(ADMIT, names, values)
        except StoreDown:
            # The connection broke under the call, which may have run: by its receipt the second try cannot charge twice.
            return await self._store.submit(ADMIT, names, values)

    def _degraded(self, plan: Plan, keys: list[str], costs: tuple[int, ...]) -> Admission:
        counters = plan.shared_by(self._replicas)
        now = int(self._clock.time() * 1_000_000)
        verdict, cause, _, *numbers = self._local.admit(keys, counters, costs, now)
        if verdict and plan.limits[cause - 1].on_store_down == "open":
            verdict, cause = self._without_open(plan, numbers)
        if not verdict and plan.has_closed:
            raise LimitUnavailable(plan.policy)
        return Admission(plan, not verdict, cause, numbers, degraded=True)

    @staticmethod
    def _without_open(plan: Plan, numbers: Sequence[int]) -> tuple[int, int]:
        for i, limit in enumerate(plan.limits):
            if not numbers[4 * i] and not limit.shadow and limit.on_store_down != "open":
                return 1, i + 1
        return 0, 0


class AttemptLimit:
    """A limit per name that is not the caller's identity, for example the account of a login: counted before the secret is checked.

    ``limit`` counts per ``user``, whose place the name takes. It is hashed with ``secret``, so what users type never stands
    in the store, and nobody outside can compute the key.
    """

    def __init__(self, admitter: Admitter, policy: str, limit: RateLimit, *, secret: bytes) -> None:
        self._admitter = admitter
        self._plan = Plan(policy, [limit])
        self._secret = blake2b(secret, digest_size=32).digest()

    async def spend(self, name: str) -> None:
        """Charge one attempt. Raises RateLimitExceeded (429), or LimitUnavailable (503) where the limit is ``closed``."""
        digest = blake2b(name.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=16).hexdigest()
        admission = await self._admitter.admit(self._plan, Caller(Principal(f"name-{digest}"), ""))
        if not admission.allowed:
            raise admission.refusal()
