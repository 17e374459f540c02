"""Customers who use everything without pause, send an order again until it is confirmed, and remember what they were told."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence, Set
from contextlib import asynccontextmanager
from itertools import chain, count, cycle
from typing import NamedTuple
from uuid import UUID, uuid4

import httpx2

from tests.chaos.stage import Caller, Stage
from tests.processes import PATIENCE_S, Api

CREDITS = 1000
ORDERS = ("durable", "quick", "sent")
OTHERS = ("batched", "paid", "reports", "mine")
KINDS = ORDERS + OTHERS
GOOD = dict.fromkeys(ORDERS, 201)


class Told(NamedTuple):
    """One answer: to what, by which of the processes."""

    kind: str
    api: Api
    answer: httpx2.Response

    @property
    def is_good(self) -> bool:
        return self.answer.status_code == GOOD.get(self.kind, 200)

    @property
    def reason(self) -> str | None:
        reason: str | None = None if self.answer.status_code < 400 else self.answer.json().get("reason")
        return reason

    @property
    def is_unknown(self) -> bool:
        """It will never be told what became of this one."""
        return self.reason == "outcome_unknown"


class Customer:
    """Asks one thing after the other, alternately of all processes. ``done``: the keys of the orders that were confirmed."""

    def __init__(self, user: UUID, apis: Sequence[Api], told: Callable[[Told], None], number: int) -> None:
        self.caller = Caller.of(user)
        self.done: dict[str, list[str]] = {kind: [] for kind in ORDERS}
        self.unknown: list[str] = []
        self.asked: Counter[str] = Counter()
        self.confirmed: Counter[str] = Counter()
        self._apis = apis
        self._told = told
        self._turns = count()
        # The first makes his account known, which is why an outage of PostgreSQL does not keep him from paying. Then each goes on with
        # another one, so that somebody asks for everything at any time, however slow the machine is.
        self._others = chain(OTHERS[:1], cycle(_from(number, OTHERS)))
        self._orders = _from(number, ORDERS)

    async def live(self, goes_on: Callable[[], bool]) -> None:
        """Until it is over. One order of each kind is open at any time, so that in an outage everybody still asks for each; those that
        are begun are brought to their end.
        """
        begun: dict[str, str] = {}
        for kind in cycle(self._orders):
            if goes_on():
                begun.setdefault(kind, uuid4().hex)
            elif not begun:
                return
            if kind in begun and await self._is_over(kind, begun[kind]):
                del begun[kind]

    async def _ask(self, kind: str, key: str | None = None) -> Told:
        turn, api = next(self._turns), random.choice(self._apis)
        self.asked[kind] += 1
        if kind == "mine":
            answer = await self.caller.get(api, "/mine")
        elif kind == "reports":
            answer = await self.caller.get(api, f"/reports/{uuid4() if turn % 3 else 'the same'}")
        else:
            answer = await self.caller.post(api, f"/{kind}", key, item=key)
        told = Told(kind, api, answer)
        self._told(told)
        self.confirmed[kind] += told.is_good
        return told

    async def _is_over(self, kind: str, key: str) -> bool:
        """Send an order, perhaps again, and ask for another thing; whether its outcome is known, or known to be unknown."""
        told = await self._ask(kind, key)
        await self._ask(next(self._others))
        if told.is_good:
            self.done[kind].append(key)
        elif told.is_unknown:
            self.unknown.append(key)
        else:
            await asyncio.sleep(0.02)  # he is told to wait a second, and does not
            return False
        return True


def _from(number: int, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """All of them, beginning with this one."""
    start = number % len(kinds)
    return kinds[start:] + kinds[:start]


class Load:
    """``customers`` with credits, and one who has none."""

    def __init__(self, stage: Stage, apis: Sequence[Api]) -> None:
        self._stage = stage
        self._apis = apis
        self._is_on = True
        self.customers: list[Customer] = []
        self.told: list[Told] = []
        self.poor: list[httpx2.Response] = []

    @asynccontextmanager
    async def running(self, customers: int) -> AsyncIterator[None]:
        """They use the service as long as the block runs; at its end all of them have an outcome for every order."""
        for number in range(customers):
            user = await self._stage.customer(CREDITS)
            self.customers.append(Customer(user, self._apis, self.told.append, number))
        async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as group:
            for customer in self.customers:
                group.create_task(customer.live(lambda: self._is_on))
            group.create_task(self._live_poor())
            try:
                yield
            finally:
                self._is_on = False
                limit.reschedule(asyncio.get_running_loop().time() + PATIENCE_S)

    async def _live_poor(self) -> None:
        caller = Caller.of(uuid4())
        while self._is_on:
            for api in self._apis:
                self.poor.append(await caller.post(api, "/paid"))

    async def until_good(self, within_s: float) -> float:
        """Seconds until each process has done one of everything, counted from now."""
        wanted = {(kind, id(api)) for kind in KINDS for api in self._apis}
        return await self._until(lambda told: told.is_good, wanted, within_s)

    async def until_refused(self) -> float:
        """Seconds until each process has said 503 to an order of each kind. Who was told so goes on asking for it."""
        wanted = {(kind, id(api)) for kind in ORDERS for api in self._apis}
        return await self._until(lambda told: told.answer.status_code == 503, wanted, PATIENCE_S)

    async def until_told(self, kinds: Set[str]) -> list[Told]:
        """What is told from now on, until each process has said something to each kind."""
        first = len(self.told)
        await self._until(
            lambda told: True, {(kind, id(api)) for kind in kinds for api in self._apis}, PATIENCE_S
        )
        return self.told[first:]

    async def _until(
        self, counts: Callable[[Told], bool], missing: set[tuple[str, int]], within_s: float
    ) -> float:
        started = time.monotonic()
        first = seen = len(self.told)
        while missing:
            assert time.monotonic() - started < within_s, (missing, self.summary(first))
            await asyncio.sleep(0.01)
            missing -= {(told.kind, id(told.api)) for told in self.told[seen:] if counts(told)}
            seen = len(self.told)
        return time.monotonic() - started

    def summary(self, since: int = 0) -> Counter[tuple[str, int, str | None]]:
        """What was told how often."""
        return Counter((told.kind, told.answer.status_code, told.reason) for told in self.told[since:])
