"""Leases of work in hand, renewed while it lasts: a slot, a claim and a hold must not end before their handler does."""

import asyncio
from collections.abc import Awaitable, Callable

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

    The task runs while there is anything to look after.
    """

    def __init__(
        self, admitter: Admitter, *, clock: Clock | None = None, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._admitter = admitter
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._due: dict[str, tuple[Admission, float, float]] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, admission: Admission) -> None:
        """Look after this work's leases until it is discarded."""
        lease_s = shortest_lease_s(admission)
        if lease_s is None:
            return
        self._due[admission.rid] = (admission, lease_s, self._clock.monotonic() + lease_s / 3)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def discard(self, admission: Admission) -> None:
        """Its work is over."""
        self._due.pop(admission.rid, None)

    async def _watch(self) -> None:
        while self._due:
            await self._sleep(_LOOK_S)
            await self.renew_due()

    async def renew_due(self) -> None:
        """Renew what is due now."""
        now = self._clock.monotonic()
        for rid, (admission, lease_s, due) in list(self._due.items()):
            if due > now or rid not in self._due:
                continue
            self._due[rid] = (admission, lease_s, now + lease_s / 3)
            try:
                await self._admitter.extend(admission, int(lease_s * 1000))
            except (StoreError, GatehouseError) as error:
                _log.warning("policy.lease_not_renewed", error=type(error).__name__)

    async def close(self) -> None:
        """Stop looking."""
        self._due.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def shortest_lease_s(admission: Admission) -> float | None:
    """The shortest lease among what was taken, in seconds; None when there is none."""
    ask = admission.ask
    leases = [slot.lease_ms for slot in ask.slots]
    leases += [part.lease_ms for part in (ask.claim, ask.price) if part is not None]
    if ask.lookup is not None and admission.is_leader:
        leases.append(ask.lookup.lease_ms)
    return min(leases) / 1000 if leases else None
