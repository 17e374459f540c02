"""What people may do with jobs, in PostgreSQL and with a worker."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.builtin.jobs.schemas import JobOut, JobQuery
from app.builtin.jobs.service import EVERYBODYS, JobDesk, JobNotFound, JobWaits, PostgresJobStore, reach_of
from app.core.context import Principal
from app.core.db import AsyncSession, get_db_context
from app.core.errors import Conflict
from app.core.jobs import EndedJob
from app.settings import Settings
from tests.builtin.jobs.errands import ANN, BOB, Errands, Gates, running_errands

OPERATOR = Principal("operator", frozenset({"read:jobs", "write:jobs"}))
OWN = reach_of(ANN, "read:jobs")


@pytest.fixture(scope="module")
async def errands(settings: Settings) -> AsyncIterator[Errands]:
    async with running_errands(settings) as errands:
        yield errands


@pytest.fixture(scope="module")
def desk(errands: Errands) -> JobDesk:
    return errands.app.platform.require(JobDesk)


@pytest.fixture
async def session(errands: Errands) -> AsyncIterator[AsyncSession]:
    async with get_db_context(errands.app.platform.database) as session:
        yield session


@pytest.fixture
def followed(errands: Errands) -> list[EndedJob]:
    """What those who act on the ends of jobs were told."""
    told: list[EndedJob] = []

    async def follow(_session: AsyncSession, ended: Sequence[EndedJob]) -> None:
        told.extend(ended)

    store = errands.store
    assert isinstance(store, PostgresJobStore)
    store.followers = [follow]
    return told


async def act(errands: Errands, desk: JobDesk, verb: str, job_id: UUID, who: Principal = ANN) -> JobOut:
    """Cancel or retry it in a transaction of its own, as a request does."""
    async with get_db_context(errands.app.platform.database) as session:
        done: JobOut = await getattr(desk, verb)(session, reach_of(who, "write:jobs"), job_id)
    return done


class TestLooking:
    async def test_many_who_wake_at_once_take_turns_and_leave_connections_to_others(
        self, errands: Errands, desk: JobDesk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id, show, looking, seen = await errands.submit(), desk.show, Counter[str](), []

        async def counted(*arguments: Any) -> JobOut:
            looking["now"] += 1
            seen.append(looking["now"])
            job = await show(*arguments)
            looking["now"] -= 1
            return job

        monkeypatch.setattr(desk, "show", counted)
        waits = errands.app.platform.require(JobWaits)
        found = await asyncio.gather(*(waits.look(OWN, job_id) for _ in range(20)))
        assert {job.id for job in found} == {job_id}
        assert 2 <= max(seen) <= 4

    async def test_everybody_sees_his_own_and_operators_see_all(
        self, errands: Errands, desk: JobDesk, session: AsyncSession
    ) -> None:
        owner = Principal(str(uuid4()))
        tenant = Principal(owner.id, tenant_id="acme")
        colleague = Principal(str(uuid4()), frozenset({"read:jobs"}), tenant_id="acme")
        ids = {who: await errands.submit(who) for who in (owner, tenant, BOB)}
        seen = {
            viewer: {
                who
                for who, job_id in ids.items()
                if job_id in {item.id for item in (await desk.page(session, reach, JobQuery())).items}
            }
            for viewer, reach in {
                "owner": reach_of(owner, "read:jobs"),
                "in his tenant": reach_of(tenant, "read:jobs"),
                "operator of the tenant": reach_of(colleague, "read:jobs"),
                "operator": reach_of(OPERATOR, "read:jobs"),
                "command line": EVERYBODYS,
            }.items()
        }
        assert seen == {
            "owner": {owner},
            "in his tenant": {tenant},
            "operator of the tenant": {tenant},
            "operator": {owner, tenant, BOB},
            "command line": {owner, tenant, BOB},
        }
        for reach in (reach_of(BOB, "read:jobs"), reach_of(owner, "read:jobs")):
            with pytest.raises(JobNotFound):
                await desk.show(session, reach, ids[tenant])

    async def test_pages_go_on_where_the_last_one_ended_and_filters_hold_together(
        self, errands: Errands, desk: JobDesk, session: AsyncSession
    ) -> None:
        owner = Principal(str(uuid4()))
        reach = reach_of(owner, "read:jobs")
        ids = [await errands.submit(owner) for _ in range(3)]
        await act(errands, desk, "cancel", ids[1], owner)
        first = await desk.page(session, reach, JobQuery(limit=2))
        second = await desk.page(session, reach, JobQuery(limit=2, cursor=first.next_cursor))
        assert [item.id for item in (*first.items, *second.items)] == ids[::-1]
        assert (first.next_cursor, second.next_cursor) == (ids[1], None)
        now = datetime.now(UTC)
        for query, expected in (
            (JobQuery(status="cancelled"), [ids[1]]),
            (JobQuery(status="queued", name="errand", queue="default"), [ids[2], ids[0]]),
            (JobQuery(name="another"), []),
            (JobQuery(queue="another"), []),
            (JobQuery(since=now - timedelta(hours=1), until=now + timedelta(hours=1)), ids[::-1]),
            (JobQuery(since=now + timedelta(hours=1)), []),
            (JobQuery(until=now - timedelta(hours=1)), []),
        ):
            found = await desk.page(session, reach, query)
            assert [item.id for item in found.items] == expected, query


class TestCancel:
    async def test_a_queued_job_ends_at_once_and_what_follows_is_done_in_its_transaction(
        self, errands: Errands, desk: JobDesk, followed: list[EndedJob]
    ) -> None:
        job_id = await errands.submit(is_charged=True)
        cancelled = await act(errands, desk, "cancel", job_id)
        assert (cancelled.status, cancelled.attempts) == ("cancelled", 0)
        assert cancelled.finished_at is not None
        assert [(one.id, one.status, one.is_charged) for one in followed] == [(job_id, "cancelled", True)]
        assert (await act(errands, desk, "cancel", job_id)).finished_at == cancelled.finished_at
        assert len(followed) == 1

    async def test_a_follower_that_refuses_keeps_it_queued(self, errands: Errands, desk: JobDesk) -> None:
        async def refuse(_session: AsyncSession, _ended: Sequence[EndedJob]) -> None:
            raise LookupError

        store = errands.store
        assert isinstance(store, PostgresJobStore)
        store.followers = [refuse]
        job_id = await errands.submit(is_charged=True)
        try:
            with pytest.raises(LookupError):
                await act(errands, desk, "cancel", job_id)
        finally:
            store.followers = []
        assert (await errands.row(job_id)).status == "queued"

    async def test_a_running_job_is_ended_by_its_worker(self, errands: Errands, desk: JobDesk) -> None:
        job_id = await errands.submit(waits=False, word="never")
        await Gates.began["never"].wait()
        asked = await act(errands, desk, "cancel", job_id)
        assert asked.status == "running"
        assert asked.cancel_requested_at is not None
        row = await errands.ended(job_id)
        assert (row.status, row.attempts, row.result) == ("cancelled", 1, None)

    async def test_one_that_fails_while_somebody_wants_it_ended_is_not_tried_again(
        self, errands: Errands, desk: JobDesk, session: AsyncSession
    ) -> None:
        job_id = await errands.submit(waits=False, word="breaks", breaks=True)
        await Gates.began["breaks"].wait()
        await act(errands, desk, "cancel", job_id)
        Gates.open["breaks"].set()
        row = await errands.ended(job_id)
        assert (row.status, row.publish_at) == ("cancelled", None)
        assert row.finished_at is not None

    async def test_somebody_elses_and_those_that_ended_are_refused(
        self, errands: Errands, desk: JobDesk
    ) -> None:
        Gates.open["done"].set()
        job_id = await errands.submit(waits=False, word="done")
        await errands.ended(job_id)
        with pytest.raises(Conflict, match="succeeded"):
            await act(errands, desk, "cancel", job_id)
        onlooker = Principal("onlooker", frozenset({"read:jobs"}))
        for who in (BOB, onlooker):
            with pytest.raises(JobNotFound):
                await act(errands, desk, "cancel", job_id, who)
        with pytest.raises(Conflict, match="succeeded"):
            await act(errands, desk, "cancel", job_id, OPERATOR)


class TestRetry:
    async def test_a_job_that_failed_runs_again_with_all_its_attempts(
        self, errands: Errands, desk: JobDesk
    ) -> None:
        Gates.open["again"].set()
        job_id = await errands.submit(waits=False, word="again", fails=True)
        assert (await errands.ended(job_id)).status == "failed"
        await errands.write(
            "UPDATE jobs SET arguments = arguments || '{\"fails\": false}' WHERE id = :id", id=job_id
        )
        again = await act(errands, desk, "retry", job_id)
        assert (again.status, again.attempts, again.error, again.finished_at) == ("queued", 0, None, None)
        row = await errands.ended(job_id)
        assert (row.status, row.attempts, row.owner) == ("succeeded", 1, "ann")
        for verb in ("retry", "cancel"):
            with pytest.raises(Conflict, match="succeeded"):
                await act(errands, desk, verb, job_id)

    async def test_its_unique_key_is_still_its_own_unless_another_has_taken_it(
        self, errands: Errands, desk: JobDesk
    ) -> None:
        key = uuid4().hex
        first = await errands.submit(unique_key=key)
        assert await errands.submit(unique_key=key) == first
        await act(errands, desk, "cancel", first)
        second = await errands.submit(unique_key=key)
        assert second != first
        with pytest.raises(Conflict, match="unique key"):
            await act(errands, desk, "retry", first)
        await act(errands, desk, "cancel", second)
        await errands.write('UPDATE jobs SET arguments = \'{"word": "held"}\' WHERE id = :id', id=first)
        await act(errands, desk, "retry", first)
        assert await errands.submit(unique_key=key) == first

    async def test_a_price_that_was_given_back_is_taken_again_or_the_job_stays_as_it_is(
        self, errands: Errands, desk: JobDesk, followed: list[EndedJob]
    ) -> None:
        job_id = await errands.submit(is_charged=True, word="held")
        await act(errands, desk, "cancel", job_id)
        charged: list[UUID] = []

        async def charge(_session: AsyncSession, job_id: UUID) -> None:
            charged.append(job_id)

        before, desk.charge_again = desk.charge_again, None
        try:
            with pytest.raises(Conflict, match="given back"):
                await act(errands, desk, "retry", job_id)
            desk.charge_again = charge
            assert (await act(errands, desk, "retry", job_id)).status == "queued"
        finally:
            desk.charge_again = before
        assert charged == [job_id]
        assert len(followed) == 1
