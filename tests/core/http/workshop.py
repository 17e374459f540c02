"""An endpoint under one policy, whose handler counts its runs and does what a test says; on real servers, through the whole gate."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import httpx2
from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from app.builtin.credits.service import set_plan
from app.core.context import Principal
from app.core.db import Database, get_db_context
from app.core.http import APIRouter, Platform, TokenVerifier, api_worker, enforce_all_policies
from app.core.observability import PolicyEvent
from app.core.policies import CREDIT, Concurrency, Credits, HoldBook, JobConfig, Quota
from app.main import create_app
from app.registry import Feature
from app.settings import Settings
from tests.apps import client_of, running
from tests.core.http.gated import NOBODY, READER, WRITER, NamedTokens, as_, feature
from tests.credited import CREDITS, balance_of, give

PATIENCE_S = 30
LONG = 86_400.0 * 300
"""Seconds of a window that no test outlives."""
FAILURES: Mapping[str, tuple[Any, int]] = {
    "not found": (HTTPException(404), 404),
    "refused": (JSONResponse({}, 409), 409),
    "unexpected": (ZeroDivisionError(), 500),
    "answered with 5xx": (JSONResponse({}, 502), 502),
}
"""What a handler may do instead of its work, by a name, with the status that the caller sees."""


class Job(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str


class Workshop:
    """``GET /work?n=`` and ``POST /work``, both under the policy ``work``.

    ``outcome`` is raised or returned by the handler, which waits for ``free`` before. ``events`` are the gate's.
    """

    def __init__(
        self, config: JobConfig, *, people: tuple[Principal, ...] = (READER, WRITER, NOBODY)
    ) -> None:
        self.runs = 0
        self.outcome: Any = None
        self.free = asyncio.Event()
        self.free.set()
        self.events: list[PolicyEvent] = []
        self.router = APIRouter()
        self.dependency = self.add("/work", "work", config)
        self._people = people
        self._turn = asyncio.Condition()
        self._now_ms = 0
        self._app: FastAPI | None = None
        self._client: httpx2.AsyncClient | None = None

    def add(self, path: str, name: str, config: JobConfig) -> Any:
        """One more endpoint with the same handler."""
        gate = enforce_all_policies(name, config)

        @self.router.get(path, dependencies=[gate])
        @api_worker(config)
        async def read(response: Response, n: int = 0) -> Any:
            return await self.work()

        @self.router.post(path, dependencies=[gate])
        @api_worker(config)
        async def write(job: Job) -> Any:
            return await self.work()

        return gate

    def added(self, path: str, name: str, config: JobConfig, handler: Callable[..., Any]) -> None:
        """One more endpoint, for GET, with a handler of its own."""
        gate = enforce_all_policies(name, config)
        self.router.get(path, dependencies=[gate])(api_worker(config)(handler))

    async def work(self) -> Any:
        """What every handler does."""
        async with self._turn:
            self.runs += 1
            run = self.runs
            self._turn.notify_all()
        await self.free.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if callable(self.outcome) and not isinstance(self.outcome, Response):
            return self.outcome()
        return {"run": run} if self.outcome is None else self.outcome

    async def until(self, runs: int) -> None:
        """Wait for that many runs to have begun."""
        async with asyncio.timeout(PATIENCE_S), self._turn:
            await self._turn.wait_for(lambda: self.runs >= runs)

    @asynccontextmanager
    async def open(
        self,
        settings: Settings,
        change: Callable[[Platform], None] = lambda _: None,
        features: tuple[Feature, ...] = (),
    ) -> AsyncIterator["Workshop"]:
        """The application, started. ``change`` may replace parts of it before; ``features`` are there too."""
        tokens = {TokenVerifier: NamedTokens(*self._people)}
        app = create_app(settings, registry=[*features, CREDITS, feature(self.router, tokens)])
        app.state.gatehouse.hub.subscribe(PolicyEvent, self.events.append)
        change(app.state.gatehouse)
        async with self._dated(app.state.gatehouse), running(app), client_of(app) as client:
            self._app, self._client = app, client
            yield self

    @asynccontextmanager
    async def _dated(self, platform: Platform) -> AsyncIterator[None]:
        if not self._now_ms:
            yield
        else:
            with patch.object(platform.admitter, "server_time_ms", lambda: self._now_ms):
                yield

    def at(self, moment: str, zone: str = "UTC") -> None:
        """The store's clock, for calendar periods: a local time. First before it is opened, and always later than this test runs, so
        that the period is not over for the store.
        """
        self._now_ms = int(datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)

    @property
    def client(self) -> httpx2.AsyncClient:
        assert self._client is not None
        return self._client

    @property
    def app(self) -> FastAPI:
        assert self._app is not None
        return self._app

    @property
    def platform(self) -> Platform:
        assert self._app is not None
        platform: Platform = self._app.state.gatehouse
        return platform

    # -- asking it ------------------------------------------------------------------------------------------------------------

    async def get(self, path: str = "/work", who: Principal = READER, **headers: str) -> httpx2.Response:
        return await self.client.get(path, headers={**as_(who), **_named(headers)})

    async def post(self, path: str = "/work", who: Principal = READER, **headers: str) -> httpx2.Response:
        return await self.client.post(path, headers={**as_(who), **_named(headers)}, json={"name": "tea"})

    async def post_nonsense(self, who: Principal = READER) -> httpx2.Response:
        """A body that the handler does not take."""
        return await self.client.post("/work", headers=as_(who), json={"nom": "tea"})

    async def statuses(self, times: int, path: str = "/work", who: Principal = READER) -> list[int]:
        """One after the other, each settled before the next."""
        found = []
        for _ in range(times):
            found.append((await self.get(path, who)).status_code)
            await self.settled()
        return found

    @asynccontextmanager
    async def in_hand(
        self, path: str = "/work", who: Principal = READER
    ) -> AsyncIterator[asyncio.Task[httpx2.Response]]:
        """A request that is being worked on inside the block and is let go, and answered, at its end."""
        self.free.clear()
        task = asyncio.create_task(self.get(path, who))
        try:
            await self.until(self.runs + 1)
            yield task
        finally:
            self.free.set()
            await asyncio.wait([task], timeout=PATIENCE_S)

    async def leave(self, task: asyncio.Task[httpx2.Response]) -> None:
        """The caller goes before his answer, under a server that then cancels."""
        task.cancel()
        await asyncio.wait([task], timeout=PATIENCE_S)
        await self.settled()

    # -- what is there --------------------------------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Wait for what is settled without being waited for."""
        await self.platform.admitter.close()

    async def left(self, who: Principal = READER) -> tuple[float, float]:
        """Credits that the caller has in the ledger, and those that are held of them."""
        await self.settled()
        held = await self.platform.require(HoldBook).held(who.id) or 0
        return await balance_of(self.platform.database, who.id) / CREDIT, held / CREDIT

    async def stored(self, command: str, *arguments: str) -> Any:
        """What Valkey says."""
        return await self.platform.store.execute(command, *arguments)

    async def keys(self, pattern: str) -> list[str]:
        """The keys in Valkey that look like this."""
        await self.settled()
        return sorted(key.decode() for key in await self.stored("KEYS", pattern))

    @property
    def verdicts(self) -> list[str]:
        """What the gate decided, in order."""
        return [event.verdict for event in self.events]


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


async def fund(database: Database, amount: int, who: Principal = READER) -> None:
    """So many credits for him, before the application is opened."""
    await give(database, who.id, amount)


def priced(cost: Any = 2, *, settle: Any = "strict", **options: Any) -> Workshop:
    """One that costs credits and has no limits."""
    return Workshop(JobConfig(credits=Credits(cost=cost, settle=settle), **{"rate_limit": None, **options}))


async def debits(database: Database) -> list[tuple[int, int, str]]:
    """(credits, overage in credits, settlement key) of every debit in the ledger, the oldest first."""
    query = "SELECT -amount_micro, overage_micro, settlement_key FROM credit_ledger WHERE kind = 'debit' ORDER BY id"
    async with get_db_context(database) as session:
        rows = (await session.execute(text(query))).all()
    return [(amount // CREDIT, overage // CREDIT, key) for amount, overage, key in rows]


def allowing(limit: Any = 2, per: Any = "day", *, quota: Any = None, **options: Any) -> Workshop:
    """One that has a quota and no limits, at a noon that does not pass."""
    quota = quota or Quota(per=per, limit=limit)
    shop = Workshop(JobConfig(quota=quota, **{"rate_limit": None, **options}))
    shop.at("2099-05-05T12:00")
    return shop


async def put_on(database: Database, plan: str = "default", zone: str = "UTC") -> None:
    """The reader's plan, and where he lives."""
    async with get_db_context(database) as session:
        await set_plan(session, READER.id, plan=plan, time_zone=zone)


async def used(shop: Workshop) -> list[int]:
    """The counts of all quotas' periods that were begun."""
    return [int(await shop.stored("GET", key)) for key in await shop.keys("*:v1:q:*")]


def slotted(
    most: int = 1, *, scope: Any = "user", people: Any = (READER, WRITER, NOBODY), **options: Any
) -> Workshop:
    """One that takes slots and has no limits."""
    slot = options.pop("slot", None) or Concurrency(max=most, scope=scope)
    return Workshop(JobConfig(concurrency=slot, **{"rate_limit": None, **options}), people=people)


async def taken(shop: Workshop) -> int:
    """Slots that somebody has, over all pools."""
    return sum([await shop.stored("ZCARD", key) for key in await shop.keys("*:v1:s:*")])
