"""What the intake does when a claim fails: the real servers do not fail in these ways when asked to."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from app.core.db import SerializationFailure
from app.core.errors import Unavailable
from app.core.jobs import ClaimedJob, JobBroker, JobStore, Message
from app.core.jobs.worker._doubts import Doubts
from app.core.jobs.worker._intake import Intake
from app.core.jobs.worker._places import JobPlaces
from app.core.resilience import ManualClock


class Failing:
    """Of a JobStore and a JobBroker what the intake asks: the first claim fails, the second is heard."""

    def __init__(self, job_id: UUID, error: Exception) -> None:
        self.job_id = job_id
        self.error: Exception | None = error
        self.acked: list[Message] = []

    async def claim_stale(self, queue: str, _most: int) -> list[Message]:
        return [Message(queue, self.job_id.bytes, "1-0", "normal", 1, 0)]

    async def claim(self, _worker: UUID, ids: Sequence[UUID]) -> list[ClaimedJob]:
        error, self.error = self.error, None
        if error is not None:
            raise error
        return [ClaimedJob(one, "any", "default", 1, 5, b"{}", None, None, 0.0) for one in ids]

    async def extend(self, _messages: Sequence[Message]) -> None: ...

    async def ack(self, messages: Sequence[Message]) -> None:
        self.acked += messages


async def at_once(_seconds: float) -> None: ...


async def began_anew(_former: UUID) -> None:
    raise AssertionError


def intake(failing: Failing, doubts: Doubts, started: list[UUID]) -> Intake:
    worker = uuid7()
    return Intake(
        cast("JobStore", failing),
        cast("JobBroker", failing),
        wait_s=0.0,
        worker=lambda: worker,
        begin_anew=began_anew,
        start=lambda claimed, _worker, _places: started.append(claimed.id),
        doubts=doubts,
        sleep=at_once,
    )


@pytest.mark.parametrize("error", [Unavailable(), SerializationFailure()])
async def test_a_claim_that_may_succeed_is_asked_for_again(error: Exception) -> None:
    """Messages that were left would wait until they are stale."""
    started: list[UUID] = []
    failing = Failing(uuid7(), error)
    taker = intake(failing, Doubts(10, ManualClock()), started)
    await taker.take_stale("default", JobPlaces(1))
    await taker.done()
    assert started == [failing.job_id]
    assert len(failing.acked) == 1


async def test_jobs_whose_claim_cannot_be_read_are_in_doubt() -> None:
    """They may be ours, and nobody else would take them while we are there."""
    started: list[Any] = []
    failing, doubts, places = Failing(uuid7(), KeyError("roles")), Doubts(10, ManualClock()), JobPlaces(1)
    with pytest.raises(KeyError):
        await intake(failing, doubts, started).take_stale("default", places)
    assert (doubts.ids(), started, failing.acked, places.taken) == ([failing.job_id], [], [], 0)
