"""What becomes of the jobs of workers that are gone, on a real database."""

import pytest
from sqlalchemy import text

from app.builtin.jobs.service import PostgresJobStore
from app.core.db import Database
from app.core.jobs import WorkerInfo
from tests.builtin.jobs.rows import enter, insert_jobs, silence

pytestmark = pytest.mark.usefixtures("clean_database")


@pytest.fixture
async def store(database: Database) -> PostgresJobStore:
    return PostgresJobStore(database)


async def statuses(database: Database) -> list[tuple[str, int]]:
    async with database.session() as session:
        found = await session.execute(text("SELECT status, attempts FROM jobs ORDER BY id"))
        return [tuple(row) for row in found]


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
