"""Orders whose answers got lost, and sending them again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2

from tests.chaos.stage import Caller, Gate, Stage
from tests.processes import PATIENCE_S, Api


@dataclass(frozen=True)
class Lost:
    """A request that was in hand when its process died: who sent it, where, under which key, and where it stood."""

    caller: Caller
    path: str
    key: str
    gate: Gate

    @classmethod
    async def new(cls, stage: Stage, path: str) -> "Lost":
        """An order of a new customer, with 10 credits, that was not sent yet."""
        return cls(Caller.of(await stage.customer(10)), path, uuid4().hex, stage.gate())

    async def send(self, api: Api, **options: Any) -> httpx2.Response:
        return await self.caller.post(api, self.path, self.key, **options)

    async def send_to(self, point: str, api: Api) -> httpx2.Response:
        """Send it, to be held up at this point."""
        return await self.send(api, headers=self.gate.stop(point))


async def insist(send: Callable[[], Awaitable[httpx2.Response]]) -> tuple[set[str], httpx2.Response]:
    """Send it until nobody is at it any more. What it was told meanwhile, and the last answer."""
    reasons: set[str] = set()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await send()
            if answer.status_code not in (409, 429) or answer.json()["reason"] == "outcome_unknown":
                return reasons, answer
            assert int(answer.headers["retry-after"]) >= 1
            reasons.add(answer.json()["reason"])
            await asyncio.sleep(0.05)
