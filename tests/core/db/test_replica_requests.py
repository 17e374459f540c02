"""Reads on a standby in whole requests."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any
from uuid import uuid4

import pytest
from fastapi import Depends
from sqlalchemy import text

from app.core import APIRouter, JobConfig, api_worker, enforce_all_policies
from app.core.db import ReadSession, Replica, WriteSession, get_db, get_read_db, get_read_db_context
from app.core.policies import ResponseCache
from app.registry import FEATURES, Feature
from app.settings import Settings
from tests.core.db.replicas import IN_RECOVERY, NOTES, PAUSE, behind
from tests.gated import Service, bearer, serving
from tests.standby import Pair

HEALTH = next(feature for feature in FEATURES if feature.name == "health")
PLAIN = JobConfig.public()
CACHED = JobConfig.public(cache=ResponseCache(ttl=60, scope="public", tags=("notes",)))
CHANGE = JobConfig.public(invalidates=("notes",))
Reading = Annotated[ReadSession, Depends(get_read_db)]
Writing = Annotated[WriteSession, Depends(get_db)]


def _router() -> APIRouter:
    router = APIRouter()

    @router.get("/plain", dependencies=[enforce_all_policies("plain", PLAIN)])
    @api_worker(PLAIN)
    async def plain(db: Reading) -> Any:
        return [await db.scalar(NOTES), await db.scalar(IN_RECOVERY)]

    @router.get("/cached", dependencies=[enforce_all_policies("cached", CACHED)])
    @api_worker(CACHED)
    async def cached(db: Reading) -> Any:
        async with get_read_db_context() as own:
            return [await db.scalar(NOTES), await own.scalar(NOTES)]

    @router.post("/notes", dependencies=[enforce_all_policies("change", CHANGE)])
    @api_worker(CHANGE)
    async def change(db: Writing, reader: Reading) -> Any:
        before = await reader.scalar(IN_RECOVERY)
        await reader.commit()
        await db.execute(text("INSERT INTO notes VALUES ('x')"))
        await db.commit()
        return [before, await reader.scalar(IN_RECOVERY), await reader.scalar(NOTES)]

    return router


@pytest.fixture
async def service(
    pair: Pair, make_settings: Callable[..., Settings], clean_store: None
) -> AsyncIterator[Service]:
    settings = make_settings(database_url=pair.primary.url(), database_replica_url=pair.standby.url())
    async with serving(settings, Feature(name="notes", router=_router()), HEALTH) as service:
        replica = service.platform.database.replica
        assert isinstance(replica, Replica)
        assert (await replica.check()).state == "close"
        yield service


async def test_a_read_goes_to_the_standby(service: Service) -> None:
    assert (await service.client.get("/plain")).json() == [0, True]
    assert service.platform.database.pool_status().checked_out == 0


async def test_after_its_own_write_a_request_reads_from_the_primary(pair: Pair, service: Service) -> None:
    await pair.on_standby(PAUSE)
    assert (await service.client.post("/notes")).json() == [True, False, 1]


async def test_an_answer_that_is_kept_is_made_of_what_the_primary_has(pair: Pair, service: Service) -> None:
    await behind(pair)
    assert (await service.client.get("/cached")).json() == [1, 1]
    assert "hit" in (await service.client.get("/cached")).headers["cache-status"]
    assert (await service.client.get("/plain")).json() == [0, True]
    assert (await service.client.post("/notes")).status_code == 200
    for _ in range(2):
        assert (await service.client.get("/cached")).json() == [2, 2]


async def test_a_dead_standby_is_nobodys_trouble_and_the_admin_is_told(pair: Pair, service: Service) -> None:
    admin = bearer(uuid4(), scopes=["read:monitor"])
    assert (await service.client.get("/health/db", headers=admin)).json()["replica"]["state"] == "close"
    pair.standby.kill()
    for _ in range(3):
        assert (await service.client.get("/plain")).json() == [0, False]
    told = (await service.client.get("/health/db", headers=admin)).json()["replica"]
    assert told["state"] == "down"
    assert "replica" not in (await service.client.get("/health/db")).json()
    failing = (await service.client.get("/ready")).json().get("failing", [])
    assert failing in ([], ["schema"])  # these servers have no schema
