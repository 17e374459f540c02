from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import uuid4

import pytest
from fastapi import Depends
from sqlalchemy import text

from app.builtin.db_monitor.jobs import periodic
from app.builtin.db_monitor.router import router
from app.builtin.db_monitor.service import provide_monitor
from app.builtin.health.router import OPEN_ROUTES
from app.builtin.health.router import router as health
from app.builtin.health.service import provide_health
from app.core import APIRouter, JobConfig, api_worker, enforce_all_policies
from app.core.db import AsyncSession, get_db
from app.core.monitor import QueryLatencyTracker, RepeatedReads
from app.registry import Feature
from app.settings import Settings
from tests.gated import Service, bearer, serving

CONFIG = JobConfig.public()
MANY = text("SELECT id FROM records WHERE version > :version")
ONE = text("SELECT name FROM records WHERE id = :id")
PATH = "/db-monitor/n-plus-one"


def shelves() -> Feature:
    """An endpoint that reads one by one, as often as its caller says."""
    own = APIRouter()

    @own.get("/shelves/{count}", dependencies=[enforce_all_policies("shelves", CONFIG)])
    @api_worker(CONFIG)
    async def read_shelves(count: int, db: Annotated[AsyncSession, Depends(get_db)]) -> None:
        await db.execute(MANY, {"version": 0})
        for _ in range(count):
            await db.execute(ONE, {"id": uuid4()})

    return Feature(name="shelves", router=own)


MONITOR = Feature(name="db_monitor", router=router, provides=provide_monitor, periodic=periodic)
HEALTH = Feature(name="health", router=health, provides=provide_health, open_routes=OPEN_ROUTES)


@pytest.fixture
async def service(settings: Settings, clean_store: None) -> AsyncIterator[Service]:
    async with serving(settings, MONITOR, HEALTH, shelves()) as service:
        yield service


async def repeats_of(service: Service, requests: int) -> dict[str, Any]:
    """The answer when ``requests`` have been taken over, which is a moment after each ended."""
    watch = service.platform.require(RepeatedReads)
    while sum(found.requests for found in watch.get_repeats()) < requests:
        await service.client.get("/live")
    answer = await service.client.get(PATH, headers=bearer(uuid4(), scopes=["read:monitor"]))
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def test_a_route_that_reads_row_by_row_is_named_with_its_line(service: Service) -> None:
    for count in (20, 4, 30):
        assert (await service.client.get(f"/shelves/{count}")).status_code == 200
    body = await repeats_of(service, 2)
    (found,) = body["repeats"]
    assert (found["endpoint"], found["policy"]) == ("GET /shelves/{count}", "shelves")
    assert found["statement"] == "SELECT name FROM records WHERE id = ?"
    assert (found["is_n_plus_one"], found["requests"]) == (True, 2)
    assert (found["times_min"], found["times_median"], found["times_max"]) == (4, 20, 30)
    assert found["lines"][0].startswith("tests/builtin/db_monitor/test_n_plus_one.py:")
    assert found["lines"][0].endswith(" in read_shelves")
    assert [(each["check"], each["subject"]) for each in body["findings"]] == [
        ("n_plus_one", "GET /shelves/{count}")
    ]
    assert body["is_watched"] is True

    tracker = service.platform.require(QueryLatencyTracker)
    routes = {each.statement: each.routes for each in tracker.get_heaviest_queries(limit=100)}
    assert routes[found["statement"]] == (("/shelves/{count}", 54),)
    headers = bearer(uuid4(), scopes=["read:monitor"])
    state = (await service.client.get("/health/db", headers=headers)).json()
    assert state["statements"]["statements"] >= 57
    assert state["statements"]["p50_ms"] <= state["statements"]["p99_ms"] <= state["statements"]["max_ms"]
    assert (await service.client.get("/health/db")).json() == {"status": "ok"}


async def test_who_may_not_look_at_the_monitor_is_refused(service: Service) -> None:
    assert (await service.client.get(PATH)).status_code == 401
    refused = await service.client.get(PATH, headers=bearer(uuid4(), scopes=["read:records"]))
    assert refused.status_code == 403


async def test_switched_off_nobody_counts(settings: Settings, clean_store: None) -> None:
    off = settings.model_copy(
        update={"monitor": settings.monitor.model_copy(update={"track_latency": False})}
    )
    async with serving(off, MONITOR, HEALTH, shelves()) as service:
        await service.client.get("/shelves/30")
        headers = bearer(uuid4(), scopes=["read:monitor"])
        body = (await service.client.get(PATH, headers=headers)).json()
        assert body == {"is_watched": False, "repeats": [], "findings": []}
        assert service.platform.require(QueryLatencyTracker).get_metrics().query_count == 0
        assert service.platform.on_requests == []
