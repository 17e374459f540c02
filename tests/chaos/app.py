"""The service with endpoints that tests of faults can look into and hold up: ``python -m tests.chaos.app FD``.

A request with the header ``X-Stop: <point>:<gate>`` waits at that point until the test opens the gate. The folder ``CHAOS_GATES`` is how
they talk: a file that grows by a byte per request that has come to the gate, and one that is there when the gate is open. It goes on
working while the servers are away and is still there when the process was killed.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import BaseModel
from sqlalchemy import text

import app.main
from app.builtin.accounts.service import provide_accounts
from app.builtin.credits.service import Upkeep, provide_credits
from app.builtin.health.router import OPEN_ROUTES
from app.builtin.health.router import router as health
from app.builtin.health.service import provide_health
from app.cli._serve import serve
from app.core import APIRouter, JobConfig, RateLimit, Security, api_worker, enforce_all_policies
from app.core.context import current_context
from app.core.db import AsyncSession, get_db
from app.core.http import Platform
from app.core.http._state import SCOPE_KEY
from app.core.jobs import Periodic
from app.core.policies import Concurrency, Credits, Idempotency, ResponseCache
from app.registry import Feature
from app.settings import Settings

LEASE_S = 2.0
HARD_TIMEOUT_S = 1.0
UNLIMITED = RateLimit.token_bucket("user", max_tokens=1_000_000, refill_rate=1_000_000)
OF_ADDRESS = RateLimit.token_bucket("ip", max_tokens=1_000_000, refill_rate=1_000_000, scope="ip")
"""So wide that every 429 of theirs is a false one."""
SLOT = Concurrency(max=2, lease=LEASE_S)

DURABLE = JobConfig(
    rate_limit=UNLIMITED,
    idempotency=Idempotency(durability="db", required=True, lease=LEASE_S),
    credits=Credits(),
    concurrency=SLOT,
)
QUICK = JobConfig(
    rate_limit=UNLIMITED, idempotency=Idempotency(required=True, lease=LEASE_S), credits=Credits()
)
RERUN = JobConfig(
    rate_limit=UNLIMITED,
    idempotency=Idempotency(required=True, lease=LEASE_S, on_expired_claim="rerun"),
    credits=Credits(),
)
BATCHED = JobConfig(rate_limit=UNLIMITED, credits=Credits(settle="batched"))
PAID = JobConfig(rate_limit=UNLIMITED, credits=Credits())
REPORT = JobConfig(
    rate_limit=UNLIMITED,
    cache=ResponseCache(ttl=60, scope="public", shared_with_all=True, hard_timeout=HARD_TIMEOUT_S),
)
PATIENT = JobConfig(
    rate_limit=UNLIMITED,
    cache=ResponseCache(ttl=60, scope="public", shared_with_all=True, hard_timeout=30),
)
MINE = JobConfig(
    security=Security(scopes=("read:records",)), rate_limit=UNLIMITED, cache=ResponseCache(ttl=60)
)
NEWS = JobConfig.public(rate_limit=OF_ADDRESS, cache=ResponseCache(ttl=60))
SENT = JobConfig(
    security=Security(scopes=("write:records",)),
    rate_limit=UNLIMITED,
    idempotency=Idempotency(durability="db", required=True, lease=LEASE_S),
)

router = APIRouter()
Db = Annotated[AsyncSession, Depends(get_db)]


class Gates:
    """Where requests wait for the test. ``stop``: what this one was told."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._point, _, self._gate = request.headers.get("x-stop", "").partition(":")

    async def come_to(self, point: str) -> None:
        """Wait here if the request was told to."""
        if point != self._point:
            return
        folder = Path(os.environ["CHAOS_GATES"])
        with (folder / f"{self._gate}.came").open("ab") as file:
            file.write(b".")
        while not (folder / f"{self._gate}.open").exists():  # noqa: ASYNC110 - another process opens it
            await asyncio.sleep(0.005)

    def stop_when_committed(self) -> None:
        """Wait when the transaction is committed, and before anything else is done."""

        async def act(_: Any) -> None:
            await self.come_to("committed")

        self._request.scope[SCOPE_KEY].sessions.at_end(act)


async def _gates(request: Request) -> Gates:
    return Gates(request)


Stops = Annotated[Gates, Depends(_gates)]


class Order(BaseModel):
    item: str


async def _order(policy: str, order: Order, db: Db, stops: Gates) -> dict[str, Any]:
    principal = current_context().principal
    owner = principal.id if principal is not None else None
    stops.stop_when_committed()
    insert = text(
        "INSERT INTO chaos_orders (policy, owner, item) VALUES (:policy, :owner, :item) RETURNING id"
    )
    number = await db.scalar(insert, {"policy": policy, "owner": owner, "item": order.item})
    await stops.come_to("handler")
    return {"number": number, "owner": owner, "item": order.item}


@router.post("/durable", status_code=201, dependencies=[enforce_all_policies("durable", DURABLE)])
@api_worker(DURABLE)
async def durable(order: Order, db: Db, stops: Stops) -> dict[str, Any]:
    return await _order("durable", order, db, stops)


@router.post("/quick", status_code=201, dependencies=[enforce_all_policies("quick", QUICK)])
@api_worker(QUICK)
async def quick(order: Order, db: Db, stops: Stops) -> dict[str, Any]:
    return await _order("quick", order, db, stops)


@router.post("/rerun", status_code=201, dependencies=[enforce_all_policies("rerun", RERUN)])
@api_worker(RERUN)
async def rerun(order: Order, db: Db, stops: Stops) -> dict[str, Any]:
    return await _order("rerun", order, db, stops)


@router.post("/sent", status_code=201, dependencies=[enforce_all_policies("sent", SENT)])
@api_worker(SENT)
async def sent(order: Order, db: Db, stops: Stops) -> dict[str, Any]:
    return await _order("sent", order, db, stops)


@router.post("/batched", dependencies=[enforce_all_policies("batched", BATCHED)])
@api_worker(BATCHED)
async def batched(stops: Stops) -> dict[str, Any]:
    await stops.come_to("handler")
    return {}


@router.post("/paid", dependencies=[enforce_all_policies("paid", PAID)])
@api_worker(PAID)
async def paid(stops: Stops) -> dict[str, Any]:
    await stops.come_to("handler")
    return {}


async def _report(name: str, db: Db, stops: Gates) -> dict[str, Any]:
    insert = text("INSERT INTO chaos_reports (name) VALUES (:name) RETURNING id")
    number = await db.scalar(insert, {"name": name})
    await stops.come_to("handler")
    return {"name": name, "number": number}


@router.get("/reports/{name}", dependencies=[enforce_all_policies("report", REPORT)])
@api_worker(REPORT)
async def report(name: str, db: Db, stops: Stops) -> dict[str, Any]:
    return await _report(name, db, stops)


@router.get("/patient/{name}", dependencies=[enforce_all_policies("patient", PATIENT)])
@api_worker(PATIENT)
async def patient(name: str, db: Db, stops: Stops) -> dict[str, Any]:
    return await _report(name, db, stops)


def _whose() -> dict[str, Any]:
    principal = current_context().principal
    return {"owner": principal.id if principal is not None else None, "secret": os.urandom(8).hex()}


@router.get("/mine", dependencies=[enforce_all_policies("mine", MINE)])
@api_worker(MINE)
async def mine() -> dict[str, Any]:
    return _whose()


@router.get("/news", dependencies=[enforce_all_policies("news", NEWS)])
@api_worker(NEWS)
async def news() -> dict[str, Any]:
    return _whose()


def periodic(platform: Platform) -> tuple[Periodic, ...]:
    """What credits do for themselves, oftener: the tests wait for it."""
    upkeep = platform.require(Upkeep)
    return (
        Periodic(name="credits.sweep", every_s=0.3, work=upkeep.sweep),
        Periodic(name="credits.reconcile", every_s=1.0, work=upkeep.reconcile),
    )


FEATURES = (
    Feature(name="health", router=health, provides=provide_health, open_routes=OPEN_ROUTES),
    Feature(name="accounts", provides=provide_accounts),
    Feature(name="credits", provides=provide_credits, periodic=periodic),
    Feature(name="chaos", router=router),
)


if __name__ == "__main__":
    create_app = app.main.create_app
    app.main.create_app = lambda settings=None, *, registry=FEATURES: create_app(settings, registry=registry)
    sys.exit(serve(Settings(), fd=int(sys.argv[1])))
