"""A commit that reached the database although its caller heard nothing: what it did is neither run again nor given back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import Depends
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database, DatabaseUnavailable, SerializationFailure, get_db
from app.core.http import api_worker, enforce_all_policies
from app.core.policies import Credits, Idempotency, JobConfig, ResponseCache
from app.settings import Settings
from tests.core.http.workshop import Workshop, debits, fund

pytestmark = pytest.mark.usefixtures("clean_store", "table")


@pytest.fixture
async def table(database: Database, clean_database: None) -> AsyncIterator[None]:
    async with database.session() as session:
        await session.execute(text("CREATE TABLE IF NOT EXISTS doubtful (n int)"))
        await session.commit()
    yield
    async with database.session() as session:
        await session.execute(text("DROP TABLE doubtful"))
        await session.commit()


async def effects(database: Database) -> int:
    async with database.session() as session:
        return int(await session.scalar(text("SELECT count(*) FROM doubtful")) or 0)


def shop_with(config: JobConfig, error: BaseException, *, reaches: bool = True) -> Workshop:
    """``POST /effects``, whose commit reaches the server or not, and ends with the error."""
    shop = Workshop(JobConfig(rate_limit=None))

    @shop.router.post("/effects", dependencies=[enforce_all_policies("effects", config)])
    @api_worker(config)
    async def effect(db: Annotated[AsyncSession, Depends(get_db)]) -> Any:
        await db.execute(text("INSERT INTO doubtful VALUES (1)"))
        commit = db.commit

        async def lost() -> None:
            if reaches:
                await commit()
            raise error

        db.commit = lost  # type: ignore[method-assign]

    return shop


ERRORS = [DatabaseUnavailable(), asyncio.CancelledError()]


@pytest.mark.parametrize("durability", ["valkey", "db"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_it_is_not_run_again_under_its_key(
    settings: Settings, database: Database, error: BaseException, durability: Any
) -> None:
    config = JobConfig(idempotency=Idempotency(durability=durability), rate_limit=None)
    async with shop_with(config, error).open(settings) as shop:
        first = await shop.post("/effects", Idempotency_Key="k")
        second = await shop.post("/effects", Idempotency_Key="k")
    assert first.status_code in (500, 503)
    assert second.status_code == 409
    assert await effects(database) == 1


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_its_credits_stay_held_until_the_ledger_is_asked(
    settings: Settings, database: Database, error: BaseException
) -> None:
    await fund(database, 10)
    config = JobConfig(credits=Credits(cost=2), rate_limit=None)
    async with shop_with(config, error).open(settings) as shop:
        assert (await shop.post("/effects")).status_code in (500, 503)
        assert await shop.left() == (8, 2)


async def test_a_commit_that_was_refused_may_run_again(settings: Settings, database: Database) -> None:
    config = JobConfig(idempotency=Idempotency(), rate_limit=None)
    async with shop_with(config, SerializationFailure(), reaches=False).open(settings) as shop:
        statuses = {(await shop.post("/effects", Idempotency_Key="k")).status_code for _ in range(2)}
        assert await shop.keys("*:v1:i:*") == []
    assert len(statuses) == 1
    assert await effects(database) == 0


@pytest.mark.parametrize("kept", [{}, {"idempotency": Idempotency()}])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_what_was_cached_of_before_is_not_shown_any_more(
    settings: Settings, error: BaseException, kept: dict[str, Any]
) -> None:
    config = JobConfig(rate_limit=None, invalidates=("doubtful",), **kept)
    shop = shop_with(config, error)
    shop.add("/shown", "shown", JobConfig(rate_limit=None, cache=ResponseCache(ttl=60, tags=("doubtful",))))
    async with shop.open(settings):
        before = (await shop.get("/shown")).json()["run"]
        await shop.settled()
        assert (await shop.get("/shown")).json()["run"] == before
        await shop.post("/effects", Idempotency_Key="k")
        assert (await shop.get("/shown")).json()["run"] == before + 1


async def test_a_batched_charge_of_what_was_not_committed_is_not_made(
    settings: Settings, database: Database
) -> None:
    await fund(database, 10)
    config = JobConfig(credits=Credits(cost=2, settle="batched"), rate_limit=None)
    async with shop_with(config, SerializationFailure(), reaches=False).open(settings) as shop:
        assert (await shop.post("/effects")).status_code >= 400
        assert await shop.left() == (10, 0)
    assert (await effects(database), await debits(database)) == (0, [])
