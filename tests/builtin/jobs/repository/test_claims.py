"""Claims and ends on a real database: what they write to, who may not claim, and in which order rows are locked."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from app.builtin.jobs.repository import claims
from app.builtin.jobs.service import PostgresJobStore
from app.core.db import Database
from app.core.jobs import Due, Outcome, WorkerGivenUp, parcel_of
from tests.builtin.jobs.rows import enter, insert_jobs, silence
from tests.lock_waits import until_a_session_waits

pytestmark = pytest.mark.usefixtures("clean_database")


@pytest.fixture
async def store(database: Database) -> PostgresJobStore:
    return PostgresJobStore(database)


class TestClaims:
    async def test_a_claim_writes_to_no_index(self, database: Database, store: PostgresJobStore) -> None:
        ids = await insert_jobs(database, "queued", 5)  # one page, with room
        worker = await enter(store)
        async with database.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            hot = "SELECT pg_stat_get_xact_tuples_hot_updated('jobs'::regclass)"
            async with driver.transaction():
                # Those of the connection's last transactions, which the server was not told yet.
                before = await driver.fetchval(hot)
                assert len(await driver.fetch(claims._CLAIM, worker, ids)) == 5
                assert await driver.fetchval(hot) - before == 5

    async def test_a_worker_that_was_given_up_claims_nothing(
        self, database: Database, store: PostgresJobStore
    ) -> None:
        ids = await insert_jobs(database, "queued", 2)
        gone = await enter(store)
        await silence(database, gone)
        await store.recover(None, silent_s=30, most=100)
        for stranger in (gone, uuid7()):
            with pytest.raises(WorkerGivenUp):
                await store.claim(stranger, ids)
        async with database.session() as session:
            assert set(await session.scalars(text("SELECT status FROM jobs"))) == {"queued"}
        # Not so for one who is there, and comes too late.
        assert await store.claim(await enter(store), [uuid7()]) == []


class TestOrderOfLocks:
    async def test_noting_publications_and_claiming_do_not_wait_for_each_other(
        self, database: Database, store: PostgresJobStore
    ) -> None:
        """The publisher knows jobs in the order of their commits, which is not that of their ids, in which claims lock them."""
        ids = await insert_jobs(
            database, "queued", 400, publish_s=5
        )  # so many that they are looked up by their ids
        async with database.session() as session:
            found = await session.execute(text("SELECT id, publish_at FROM jobs"))
            times: dict[Any, Any] = {row.id: row.publish_at for row in found}
            await session.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": ids[0]})
            due = [Due(one, parcel_of(one, "default", "normal"), times[one]) for one in reversed(ids)]
            noting = asyncio.create_task(store.mark_published(due))
            await until_a_session_waits(database)
            await session.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE NOWAIT"), {"id": ids[-1]})
            await session.commit()
        await noting
        async with database.session() as session:
            noted = "SELECT count(*) FROM jobs WHERE publish_at IS NULL AND published_at IS NOT NULL AND id = ANY (:ids)"
            assert await session.scalar(text(noted), {"ids": ids}) == 400

    async def test_ends_and_recovery_do_not_wait_for_each_other(
        self, database: Database, store: PostgresJobStore
    ) -> None:
        """Jobs end in any order; who recovers them locks them in that of their ids."""
        ids = await insert_jobs(database, "queued", 3)
        worker = await enter(store)
        assert len(await store.claim(worker, ids)) == 3
        async with database.session() as session:
            await session.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": ids[0]})
            ends = [Outcome(one, 2, "succeeded", b"1") for one in reversed(ids)]
            ending = asyncio.create_task(store.finish(worker, ends))
            await until_a_session_waits(database)
            await session.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE NOWAIT"), {"id": ids[-1]})
            await session.commit()
        assert await ending == set(ids)
