"""``/jobs/{job_id}/events``: what happens to a job, as it happens."""

from collections.abc import AsyncIterator

from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.builtin.jobs.router.gates import BUSY, NOT_FOUND, Followed, Waits
from app.builtin.jobs.schemas import JobChange, JobOut
from app.builtin.jobs.service import LOOK, JobUpdate, reach_of
from app.core import APIRouter, CurrentPrincipal, JobConfig, api_worker, enforce_all_policies
from app.core.errors import GatehouseError

MOST_S = 600.0
"""How long one stream lasts: rights that were taken away show when the caller comes back."""

FOLLOW = JobConfig()
_RETRY_MS = 2000

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get(
    "/{job_id}/events",
    response_class=EventSourceResponse,
    responses=NOT_FOUND | BUSY,
    dependencies=[enforce_all_policies("jobs_events", FOLLOW)],
)
@api_worker(FOLLOW)
async def follow_job(job: Followed, waits: Waits, caller: CurrentPrincipal) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events: `status` (the first one at once), `progress`, and `end` with the whole job, after which the caller closes.

    A comment comes every 15 seconds. A stream that ends without `end` (after ten minutes, or because the process stops) is to be opened
    anew: its first event says how the job stands, so nothing is missed. `problem` is the last event when something is away.
    """
    try:
        async for event in waits.events(reach_of(caller, LOOK), job, MOST_S):
            yield _event(event, job)
    except GatehouseError as error:
        data = {"status": error.status, "title": error.title, "detail": error.detail}
        yield ServerSentEvent(event="problem", data=data, retry=_RETRY_MS)


def _event(event: JobUpdate, job: JobOut) -> ServerSentEvent:
    state = event.state
    change = JobChange(id=job.id, **state._asdict())
    version = f"{state.attempts}-{state.status}-{state.progress or 0:g}"
    return ServerSentEvent(event=event.kind, data=event.job or change, id=version, retry=_RETRY_MS)
