"""Claims, workers and what is looked for, on a real database: what a worker that is gone may not do, and what no statement may cost."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from app.builtin.jobs.repository import claims, queues, rows
from app.builtin.jobs.service import PostgresJobStore
from app.core.db import Database
from app.core.jobs import Due, WorkerGivenUp, WorkerInfo, parcel_of
from tests.builtin.jobs.rows import enter, insert_jobs, silence
from tests.lock_waits import until_a_session_waits

pytestmark = pytest.mark.usefixtures("clean_database")


@pytest.fixture
async def store(database: Database) -> PostgresJobStore:
    return PostgresJobStore(database)


async def statuses(database: Database) -> list[tuple[str, int]]:
    async with database.session() as session:
        found = await session.execute(text("SELECT status, attempts FROM jobs ORDER BY id"))
        return [tuple(row) for row in found]


class TestClaims:
    async def test_a_claim_writes_to_no_index(self, database: Database, store: PostgresJobStore) -> None:
        ids = await insert_jobs(database, "queued", 5)  # one page, with room
        worker = await enter(store)
        async with database.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            hot = "SELECT pg_stat_get_xact_tuples_hot_updated('jobs'::regclass)"
            async with driver.transaction():
                before = await driver.fetchval(
                    hot
                )  # of the connection's last transactions, not told to the server yet
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
        assert {status for status, _ in await statuses(database)} == {"queued"}
        # Not so for one who is there, and comes too late.
        assert await store.claim(await enter(store), [uuid7()]) == []


class TestRecovery:
    async def test_a_worker_stays_given_up_until_all_its_jobs_are_with_others(
        self, database: Database, store: PostgresJobStore
    ) -> None:
        ids = await insert_jobs(database, "queued", 3)
        gone = WorkerInfo(await enter(store), "by hand", ("default",), 1, 1)
        assert len(await store.claim(gone.id, ids)) == 3
        await silence(database, gone.id)
        first = await store.recover(None, silent_s=30, most=2)
        assert len(first.requeued) == 2
        assert not (await store.beat(gone, ids, [])).is_known
        second = await store.recover(None, silent_s=30, most=2)
        assert set(first.requeued) | set(second.requeued) == set(ids)
        assert await store.recover(None, silent_s=30, most=2) == ((), ())

    async def test_who_was_not_heard_of_himself_gives_nobody_up(
        self, database: Database, store: PostgresJobStore
    ) -> None:
        """As after a pause of the database: everybody looks silent, and the question for those who are was on its way."""
        ids = await insert_jobs(database, "queued", 1)
        worker, other = await enter(store), await enter(store)
        assert await store.claim(worker, ids)
        await silence(database, worker)
        await silence(database, other)
        assert await store.recover(other, silent_s=30, most=100) == ((), ())
        await store.beat(WorkerInfo(other, "by hand", ("default",), 1, 1), [], [])
        assert (await store.recover(other, silent_s=30, most=100)).requeued == tuple(ids)

    async def test_jobs_of_a_worker_that_nobody_knows_are_taken_once_another_comes(
        self, database: Database, store: PostgresJobStore
    ) -> None:
        (lost,) = await insert_jobs(database, "running")
        assert await store.recover(None, silent_s=30, most=100) == ((), ())
        await enter(store)
        assert (await store.recover(None, silent_s=30, most=100)).requeued == (lost,)

    async def test_a_worker_that_leaves_gives_back_what_it_holds_and_no_attempt_is_lost(
        self, database: Database, store: PostgresJobStore
    ) -> None:
        ids = await insert_jobs(database, "queued", 2)
        worker, other = await enter(store), await enter(store)
        await store.claim(worker, ids[:1])
        await store.claim(other, ids[1:])
        await store.leave(worker)
        assert await statuses(database) == [("queued", 1), ("running", 2)]


class TestPlans:
    @pytest.mark.parametrize(
        ("statement", "values", "index"),
        [
            (rows._TAKE_DUE, (1000,), "ix_jobs_publish_at"),
            (rows._TAKE_LOST, ("default", datetime(2026, 1, 1, tzinfo=UTC), 1000), "ix_jobs_queue_id"),
            (queues._PURGE, (30, 1000), "pk_jobs"),
        ],
        ids=["due", "lost", "old"],
    )
    async def test_what_is_looked_for_again_and_again_is_looked_for_in_an_index(
        self, database: Database, statement: str, values: tuple[Any, ...], index: str
    ) -> None:
        # A full look at an index has no condition; a full look at the table is what this forbids.
        assert plan_of(await explain(database, statement, *values)) == {index: True, "pk_jobs": True}


async def explain(database: Database, statement: str, *values: Any) -> list[str]:
    async with database.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute("SET enable_seqscan = off")
        try:
            return [row[0] for row in await driver.fetch(f"EXPLAIN {statement}", *values)]
        finally:
            await driver.execute("RESET enable_seqscan")


def plan_of(lines: list[str]) -> dict[str, bool]:
    """Each index that is used, and whether it is asked for something."""
    found: dict[str, bool] = {}
    for at, line in enumerate(lines):
        if "Seq Scan" in line:
            found["the table"] = False
        if " using " in line or "Bitmap Index Scan on " in line:
            index = line.replace("Bitmap Index Scan on ", "using ").partition(" using ")[2].split()[0]
            found[index] = "Index Cond" in "".join(lines[at + 1 : at + 2])
    return found


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
