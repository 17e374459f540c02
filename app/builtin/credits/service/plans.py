"""Who is on which plan, from memory most of the time: ``PlanSource``."""

import asyncio
from collections import OrderedDict
from contextvars import Context
from dataclasses import dataclass

from app.builtin.credits.repository import LedgerRepository
from app.core.db import Database
from app.core.errors import Unavailable
from app.core.policies import AccountPlan, PlanSource
from app.core.resilience import Clock

_RETRY_S = 1.0
_OLD_IS_ENOUGH_S = 0.25


@dataclass(slots=True)
class _Known:
    plan: AccountPlan
    fresh_until: float
    usable_until: float


class Plans(PlanSource):
    """Plans of accounts, read once in ``ttl_s`` seconds and process.

    An account that does not exist has the default plan. While the database does not answer, what is known is used for ``stale_s`` seconds;
    after that, and for an account that nobody has asked for, Unavailable is raised. ``most``: accounts that are remembered; the
    one that was asked for longest ago is forgotten first. Callers who ask for one account at once share one query. Belongs to one event
    loop.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        ttl_s: float = 30.0,
        stale_s: float = 600.0,
        most: int = 10_000,
    ) -> None:
        self._database = database
        self._clock = clock
        self._ttl_s = ttl_s
        self._stale_s = stale_s
        self._most = most
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._reading: dict[str, asyncio.Task[AccountPlan]] = {}

    def __len__(self) -> int:
        return len(self._known)

    async def plan_of(self, account: str) -> AccountPlan:
        """The account's plan. Raises Unavailable when it can neither be read nor remembered."""
        known, now = self._known.get(account), self._clock.monotonic()
        if known is not None and now < known.fresh_until:
            self._known.move_to_end(account)
            return known.plan
        reading = self._read_once(account)
        if known is None or now >= known.usable_until:
            return await asyncio.shield(reading)
        await asyncio.wait([reading], timeout=_OLD_IS_ENOUGH_S)
        if reading.done() and reading.exception() is None:
            return reading.result()
        if reading.done() and not isinstance(reading.exception(), Unavailable):
            return reading.result()  # Not an outage: raise it.
        known.fresh_until = (
            self._clock.monotonic() + _RETRY_S
        )  # Not every request has to try a database that is away.
        return known.plan

    def forget(self, account: str) -> None:
        """Read it anew the next time: its plan was changed here."""
        self._known.pop(account, None)

    def _read_once(self, account: str) -> asyncio.Task[AccountPlan]:
        task = self._reading.get(account)
        if task is None:
            # A task of its own: that the first who asked goes away must not fail the others.
            task = asyncio.get_running_loop().create_task(self._read(account), context=Context())
            self._reading[account] = task
            task.add_done_callback(lambda done: self._finish(account, done))
        return task

    def _finish(self, account: str, done: asyncio.Task[AccountPlan]) -> None:
        del self._reading[account]
        if not done.cancelled():
            done.exception()  # Marks it as seen, for when nobody waits any more.

    async def _read(self, account: str) -> AccountPlan:
        async with self._database.session() as session:
            state = await LedgerRepository(session).state(account)
        plan = AccountPlan() if state is None else AccountPlan(state.plan, state.time_zone)
        now = self._clock.monotonic()
        self._known[account] = _Known(plan, now + self._ttl_s, now + self._stale_s)
        self._known.move_to_end(account)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return plan
