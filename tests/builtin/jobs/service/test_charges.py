"""What jobs cost: debited with the job, under its id, and brought to what it comes to at its end; PostgreSQL and Valkey agree."""

from collections.abc import AsyncIterator
from unittest.mock import patch
from uuid import uuid4

import pytest

from app.builtin.credits.service import Upkeep
from app.builtin.jobs.service import JobCharges
from app.core.db import AsyncSession, Database, after_commit_idle, get_db_context
from app.core.jobs import EndedJob, JobQueue, Status
from app.core.policies import CREDIT, InsufficientCredits, Settled, account_key, set_cost
from app.settings import Settings
from tests.builtin.jobs.till import Till, Work, one_job, toil
from tests.core.http.gated import READER
from tests.core.http.workshop import fund

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


@pytest.fixture(scope="module")
async def started(settings: Settings) -> AsyncIterator[Till]:
    """One application for all of them: to start one takes longer than any of these tests."""
    async with Till().at_work(settings) as till:
        yield till


@pytest.fixture
async def till(
    started: Till, database: Database, clean_store: None, clean_database: None
) -> AsyncIterator[Till]:
    """It, with a hundred credits and nothing else that another test has left."""
    await fund(database, 100)
    yield started
    await started.settled()
    await after_commit_idle()


async def cheap(queue: JobQueue, session: AsyncSession) -> str:
    set_cost(3)
    return await one_job(queue, session)


async def two(queue: JobQueue, session: AsyncSession) -> str:
    await one_job(queue, session)
    return await one_job(queue, session)


async def unique(queue: JobQueue, session: AsyncSession) -> str:
    return str((await queue.enqueue(session, toil, Work(n=7))).id)


async def unique_and_another(queue: JobQueue, session: AsyncSession) -> str:
    await unique(queue, session)
    return await one_job(queue, session)


class TestSubmitting:
    async def test_the_debit_is_written_with_the_job_under_its_id_whatever_the_settlement(
        self, till: Till
    ) -> None:
        first = await till.submit("strict")
        second = await till.submit("batched")
        third = await till.submit("batched", cheap)
        assert await till.entries() == [
            ("debit", -10, 0, str(first)),
            ("debit", -10, 0, str(second)),
            ("debit", -3, 0, str(third)),
        ]
        assert await till.jobs() == [(str(first), True), (str(second), True), (str(third), True)]
        assert await till.known() == await till.left() == (77, 0)

    async def test_one_request_pays_for_one_job_and_none_for_one_that_is_there(self, till: Till) -> None:
        await till.submit("strict", two)
        (first, _), (_, is_charged) = await till.jobs()
        assert not is_charged
        kept = await till.submit("strict", unique)
        assert await till.submit("strict", unique) == kept
        last = await till.submit("strict", unique_and_another)
        assert [key for *_, key in await till.entries()] == [first, str(kept), str(last)]
        assert await till.known() == await till.left() == (70, 0)

    async def test_nothing_is_charged_in_shadow_nor_for_what_costs_nothing(self, till: Till) -> None:
        for name in ("shadow", "free"):
            await till.submit(name)
        assert [is_charged for _, is_charged in await till.jobs()] == [False, False]
        assert await till.entries() == []

    async def test_a_handler_that_fails_after_it_submits_nothing_and_pays_nothing(self, till: Till) -> None:
        async def fail(queue: JobQueue, session: AsyncSession) -> None:
            await one_job(queue, session)
            raise ZeroDivisionError

        till.act = fail
        for name in ("strict", "batched", "kept"):
            assert (await till.post(f"/{name}", idempotency_key="k")).status_code == 500
        assert (await till.jobs(), await till.entries()) == ([], [])
        assert await till.known() == (100, 0)

    async def test_an_attempt_that_is_rolled_back_gives_its_name_back(self, till: Till) -> None:
        tries: list[str] = []

        async def fail_once(queue: JobQueue, session: AsyncSession) -> str:
            await session.begin_nested() if not tries else None
            tries.append(await one_job(queue, session))
            if len(tries) == 1:
                raise LookupError
            return tries[-1]

        job_id = await till.submit("tried", fail_once)
        assert len(tries) == 2
        assert await till.jobs() == [(str(job_id), True)]
        assert await till.entries() == [("debit", -10, 0, str(job_id))]

    async def test_a_key_that_is_used_again_is_one_job_and_one_debit_also_when_the_store_forgets(
        self, till: Till
    ) -> None:
        job_id = await till.submit("kept", key="k")
        assert await till.submit("kept", key="k") == job_id
        await till.settled()
        await till.stored("FLUSHDB")
        assert await till.submit("kept", key="k") == job_id
        assert await till.entries() == [("debit", -10, 0, str(job_id))]


class TestCrash:
    @pytest.mark.parametrize("way", ["before the commit", "before the settlement", "after it"])
    async def test_the_store_agrees_with_the_ledger_after_the_sweeper(self, till: Till, way: str) -> None:
        """The process is killed there: what it would have told the store is lost, its hold stays until its lease is over."""

        async def lost(*_: object, **__: object) -> Settled:
            return Settled(is_lost=True)

        async def refuse(queue: JobQueue, session: AsyncSession) -> str:
            await one_job(queue, session)
            raise ZeroDivisionError

        admitter = till.platform.admitter
        if way != "after it":
            with patch.object(admitter, "settle", lost), patch.object(admitter, "abort", lost):
                till.act = refuse if way == "before the commit" else one_job
                await till.post("/strict")
            assert (await till.known())[1] == 10
            await expire_holds(till)
        else:
            await till.submit("strict")
        upkeep = till.platform.require(Upkeep)
        assert await upkeep.sweep() == (0 if way == "after it" else 1)
        left = 100 if way == "before the commit" else 90
        assert await till.known() == await till.left() == (left, 0)
        assert await upkeep.reconcile() == 0


async def expire_holds(till: Till) -> None:
    account = account_key(READER.id)
    fields = await till.stored("HGETALL", account)
    for field, value in zip(fields[::2], fields[1::2], strict=True):
        if field.startswith(b"r"):
            micro, _, key = value.decode().split(" ")
            await till.stored("HSET", account, field.decode(), f"{micro} 1 {key}")


class TestEnd:
    async def test_a_job_that_comes_to_nothing_is_given_back_once(self, till: Till) -> None:
        expected: list[tuple[str, float, float, str]] = []
        ends: tuple[Status, ...] = ("failed", "dead", "cancelled")
        for status in ends:
            job_id = await till.submit()
            assert await till.end(job_id, status)
            over = EndedJob(job_id, "toil", status, READER, True, None, None, None, None)
            async with get_db_context(till.platform.database) as session:
                await till.platform.require(JobCharges)(session, [over])
            expected += [("debit", -10, 0, f"{job_id}"), ("refund", 10, 0, f"f:{job_id}")]
        assert await till.entries() == expected
        assert await till.known() == await till.left() == (100, 0)

    async def test_a_job_that_succeeds_costs_what_it_says(self, till: Till) -> None:
        as_charged, equal, less, nothing, more = [await till.submit() for _ in range(5)]
        for job_id, cost in ((as_charged, None), (equal, 10), (less, 4), (nothing, 0), (more, 75)):
            assert await till.end(job_id, "succeeded", None if cost is None else cost * CREDIT)
        assert (await till.entries())[5:] == [
            ("refund", 6, 0, f"f:{less}"),
            ("refund", 10, 0, f"f:{nothing}"),
            ("debit", -65, 0, f"{more}:more"),
        ]
        assert await till.known() == await till.left() == (1, 0)

    async def test_what_the_balance_does_not_reach_for_is_overage(self, till: Till) -> None:
        job_id = await till.submit()
        assert await till.end(job_id, "succeeded", 150 * CREDIT)
        assert (await till.entries())[1:] == [("debit", -90, 50, f"{job_id}:more")]
        assert await till.known() == (0, 0)

    async def test_an_end_that_is_rolled_back_gives_nothing_back(self, till: Till) -> None:
        job_id = await till.submit()
        over = EndedJob(job_id, "toil", "dead", READER, True, None, None, None, None)

        async def end_and_fail() -> None:
            async with get_db_context(till.platform.database) as session:
                await till.platform.require(JobCharges)(session, [over])
                raise LookupError

        with pytest.raises(LookupError):
            await end_and_fail()
        assert await till.known() == await till.left() == (90, 0)


class TestAgain:
    async def test_a_retry_is_charged_under_a_key_of_its_own_and_given_back_under_it(
        self, till: Till
    ) -> None:
        job_id = await till.submit()
        for _ in range(2):
            await till.end(job_id, "dead")
            await till.again(job_id)
        await till.end(job_id, "succeeded", 4 * CREDIT)
        assert await till.entries() == [
            ("debit", -10, 0, f"{job_id}"),
            ("refund", 10, 0, f"f:{job_id}"),
            ("debit", -10, 0, f"{job_id}:1"),
            ("refund", 10, 0, f"f:{job_id}:1"),
            ("debit", -10, 0, f"{job_id}:2"),
            ("refund", 6, 0, f"f:{job_id}:2"),
        ]
        assert await till.known() == await till.left() == (96, 0)

    async def test_it_is_402_when_the_balance_does_not_reach_and_nothing_has_changed(
        self, till: Till
    ) -> None:
        job_id = await till.submit()
        await till.end(job_id, "dead")
        rich = await till.submit()
        await till.end(rich, "succeeded", 95 * CREDIT)
        with pytest.raises(InsufficientCredits) as refusal:
            await till.again(job_id)
        assert (refusal.value.extensions["required"], refusal.value.extensions["available"]) == (10, 5)
        assert await till.known() == await till.left() == (5, 0)

    async def test_nothing_is_taken_for_a_job_that_nobody_pays_for(self, till: Till) -> None:
        job_id = await till.submit("free")
        await till.end(job_id, "dead")
        await till.again(job_id)
        await till.again(uuid4())
        assert await till.entries() == []
