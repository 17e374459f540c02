"""A job that does what it is told, and somebody who runs attempts at it."""

import asyncio
from typing import Any
from uuid import uuid4

from pydantic import BaseModel

from app.core.context import Principal, RequestContext, current_context
from app.core.errors import PolicyRejected, Unavailable
from app.core.jobs import (
    ClaimedJob,
    Execution,
    Job,
    JobFailed,
    JobRun,
    Outcome,
    RunReports,
    job,
)
from app.core.observability import EventHub, JobEvent
from app.core.policies import (
    JobConfig,
)
from tests.core.jobs.workbench import Workbench


class Orders(BaseModel):
    """What the job is to do: the name of an error, if any."""

    error: str = ""
    times: int = 100


ERRORS = {
    "broken": ZeroDivisionError("the password is hunter2"),
    "hopeless": JobFailed("nothing to be done"),
    "away": Unavailable("the mill stands still", retry_after=7),
    "limited": PolicyRejected("slowly", retry_after=9),
    "broke": PolicyRejected("no credits"),
}


class Gate:
    """What the handler did, and what it waits for."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.runs = 0
        self.seen: tuple[Principal | None, RequestContext] = (None, current_context())


GATE = Gate()


async def obey(orders: Orders, run: JobRun) -> int:
    GATE.runs += 1
    GATE.begun.set()
    GATE.seen = run.submitter, current_context()
    if orders.error == "wait":
        await GATE.open.wait()
    elif orders.error and GATE.runs <= orders.times:
        raise ERRORS[orders.error]
    return GATE.runs


def declared(name: str, **config: Any) -> Job[Any]:
    return job(name, attempts=2, config=JobConfig(**{"rate_limit": None, "timeout": 60, **config}))(obey)


class Desk:
    """Runs attempts on the bench's servers, without its worker. ``events`` are their ends."""

    def __init__(self, bench: Workbench, **options: Any) -> None:
        self.events: list[JobEvent] = []
        self.who = Principal(uuid4().hex, frozenset({"run:cpu_job"}), frozenset({"cpu_user"}))
        platform, hub = bench.app.platform, EventHub()
        hub.subscribe(JobEvent, self.events.append)
        engine = options.pop("engine", platform.engine)
        self.execution = Execution(
            bench.store,
            engine,
            platform.database,
            processes=None,
            require=platform.require,
            hub=hub,
            rng=lambda: 0.0,
            **options,
        )
        vars(GATE).update(vars(Gate()))

    async def run(self, job: Job[Any], error: str = "", *, attempt: int = 1, **claim: Any) -> Outcome:
        arguments = Orders(error=error, times=claim.pop("times", 100)).model_dump_json().encode()
        claimed = ClaimedJob(
            uuid4(), job.name, "default", attempt, 2, arguments, claim.get("who", self.who), claim.get("trace"), 0.25
        )  # fmt: skip
        outcome = await self.execution.run(job, claimed, uuid4(), RunReports())
        assert outcome is not None
        assert (outcome.job_id, outcome.attempt) == (claimed.id, attempt)
        return outcome

    @property
    def words(self) -> list[str]:
        return [event.outcome for event in self.events]
