"""Submitting a job by its arguments alone, outside of a request; in one: ``tests/requirements``."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from pydantic import BaseModel
from sqlalchemy.exc import NoResultFound

from app.core.context import Principal, RequestContext, reset_context, set_context
from app.core.db import session_scope
from app.core.errors import ConfigurationError
from app.core.jobs import JobRun, configure_jobs, default_queue, job, publish_job_to_pulsar
from app.settings import Settings
from tests.core.jobs.workbench import Workbench, working

pytestmark = pytest.mark.usefixtures("own_jobs")


class Greeting(BaseModel):
    name: str


class Shared(BaseModel):
    pass


class Unknown(BaseModel):
    pass


@job("greet")
async def greet(arguments: Greeting, _run: JobRun) -> str:
    return f"Hello, {arguments.name}"


@job("one_of_two")
async def one_of_two(_arguments: Shared, _run: JobRun) -> None: ...


@job("other_of_two")
async def other_of_two(_arguments: Shared, _run: JobRun) -> None: ...


@pytest.fixture(scope="module")
async def bench(settings: Settings) -> AsyncIterator[Workbench]:
    async with working(settings, (greet, one_of_two, other_of_two)) as bench:
        yield bench


async def test_the_job_that_takes_it_runs_for_the_user_with_no_rights_of_a_caller(bench: Workbench) -> None:
    job_id = await publish_job_to_pulsar(Greeting(name="Ann"), "ann")
    row = await bench.ended(UUID(job_id))
    assert (row.name, row.owner, row.status, row.result) == ("greet", "ann", "succeeded", "Hello, Ann")
    assert (row.submitter["scopes"], row.submitter["roles"]) == ([], [])


async def test_in_a_request_it_is_part_of_the_transaction_and_has_the_rights_of_the_caller(
    bench: Workbench,
) -> None:
    caller = Principal("ann", frozenset({"run:cpu_job"}), frozenset({"cpu_user"}))
    token = set_context(RequestContext(principal=caller))
    try:
        with session_scope(bench.app.platform.database) as request:
            undone = await publish_job_to_pulsar(Greeting(name="Nobody"), "ann")
            await request.rollback()
        with session_scope(bench.app.platform.database) as request:
            kept, for_bob = [await publish_job_to_pulsar(Greeting(name="Ann"), who) for who in ("ann", "bob")]
            await request.commit()
    finally:
        reset_context(token)
    with pytest.raises(NoResultFound):
        await bench.row(UUID(undone))
    assert (await bench.ended(UUID(kept))).submitter["roles"] == ["cpu_user"]
    assert (await bench.ended(UUID(for_bob))).submitter["roles"] == []


@pytest.mark.parametrize("payload", [Unknown(), Shared()], ids=["no job takes it", "two do"])
async def test_what_no_job_takes_alone_is_refused_by_name(bench: Workbench, payload: BaseModel) -> None:
    with pytest.raises(ConfigurationError, match=f"takes {type(payload).__name__}: declare it with @job"):
        await publish_job_to_pulsar(payload, "ann")


async def test_without_a_door_there_is_no_queue(bench: Workbench) -> None:
    before = default_queue()
    configure_jobs(None)
    try:
        with pytest.raises(ConfigurationError, match="configure_jobs"):
            await publish_job_to_pulsar(Greeting(name="Ann"), "ann")
    finally:
        configure_jobs(before)
