"""Leases of work in hand, renewed while it lasts: a slot, a claim and a hold must not end before their handler does."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf

import structlog

from app.core.errors import GatehouseError
from app.core.policies._admission import Admission
from app.core.policies._admitter import Admitter
from app.core.resilience import Clock, SystemClock
from app.core.valkey import StoreError

_LOOK_S = 0.25  # a lease may be as short as a second
_log = structlog.get_logger(__name__)
Sleep = Callable[[float], Awaitable[None]]


class Renewals:
    """All work of one process that holds leases. One task looks four times a second and renews what has used a third of its lease.

    The task runs while there is anything to look after. Most work ends before the next look, so ``add`` and ``discard`` only take notes: a
    lease counts as begun at the look before it, which is never later than it was.
    """

    def __init__(
        self, admitter: Admitter, *, clock: Clock | None = None, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._admitter = admitter
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._held: dict[str, Admission] = {}
        self._due: dict[str, tuple[float, float]] = {}
        self._looked_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def add(self, admission: Admission) -> None:
        """Look after this work's leases until it is discarded."""
        claim, lookup, _, _, slots, hold, *_ = admission.ask
        if hold or slots or claim or lookup:
            self._held[admission.rid] = admission
            if self._task is None or self._task.done():
                self._looked_at = self._clock.monotonic()
                self._task = asyncio.get_running_loop().create_task(self._watch())

    def discard(self, admission: Admission) -> None:
        """Its work is over."""
        self._held.pop(admission.rid, None)

    async def _watch(self) -> None:
        while self._held:
            await self._sleep(_LOOK_S)
            await self.renew_due()

    async def renew_due(self) -> None:
        """Renew what is due now."""
        begun, now = self._looked_at, self._clock.monotonic()
        known, self._due, self._looked_at = self._due, {}, now
        for rid, admission in list(self._held.items()):
            if rid not in self._held:  # it ended while another lease was renewed
                continue
            lease_s, due = known.get(rid) or _first(admission, begun)
            if due <= now:
                due = now + lease_s / 3
                await self._renew(admission, lease_s)
            self._due[rid] = (lease_s, due)

    async def _renew(self, admission: Admission, lease_s: float) -> None:
        try:
            await self._admitter.extend(admission, int(lease_s * 1000))
        except (StoreError, GatehouseError) as error:
            _log.warning("policy.lease_not_renewed", error=type(error).__name__)

    async def close(self) -> None:
        """Stop looking."""
        self._held.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _first(admission: Admission, begun: float) -> tuple[float, float]:
    """The lease, and when it is due for the first time; never, when nothing was leased."""
    lease_s = shortest_lease_s(admission) or inf
    return lease_s, begun + lease_s / 3


def shortest_lease_s(admission: Admission) -> float | None:
    """The shortest lease among what was taken, in seconds; None when there is none."""
    ask = admission.ask
    leases = [slot.lease_ms for slot in ask.slots]
    leases += [part.lease_ms for part in (ask.claim, ask.price) if part is not None]
    if ask.lookup is not None and admission.is_leader:
        leases.append(ask.lookup.lease_ms)
    return min(leases) / 1000 if leases else None
