"""``/jobs``: what became of the jobs that the caller has submitted; those of others for operators."""

import asyncio
from hashlib import blake2b
from typing import Annotated, Any
from uuid import UUID

from fastapi import Header, Query, Request, Response
from starlette.requests import ClientDisconnect

from app.builtin.jobs.router.gates import (
    BUSY,
    CHANGE,
    ENDED,
    LIST,
    MOST_WAIT_S,
    NOT_FOUND,
    READ,
    UNPAID,
    Desk,
    Session,
    Waits,
)
from app.builtin.jobs.schemas import JobListQuery, JobOut, JobPage
from app.builtin.jobs.service import ACT, LOOK, JobWaits, Reach, reach_of
from app.core import APIRouter, CurrentPrincipal, Security, api_worker, enforce_all_policies
from app.core.context import Principal
from app.core.jobs import OPEN

_OPERATOR = Security(scopes=(LOOK,))
_NOT_ALL: dict[int | str, Any] = {403: {"description": "Everybody's jobs, without the scope `read:jobs`"}}
_UNCHANGED: dict[int | str, Any] = {
    304: {"description": "It stands as the caller knows it (`If-None-Match`)"}
}
_ASKED: dict[int | str, Any] = {
    202: {"description": "It runs: its worker ends it within seconds", "model": JobOut}
}

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get("", responses=_NOT_ALL, dependencies=[enforce_all_policies("jobs_list", LIST)])
@api_worker(LIST)
async def list_jobs(
    query: Annotated[JobListQuery, Query()], desk: Desk, session: Session, caller: CurrentPrincipal
) -> JobPage:
    """The caller's jobs, the newest first; with `all` everybody's, for operators (`read:jobs`)."""
    if query.all and (refusal := _OPERATOR.refusal(caller)) is not None:
        raise refusal
    reach = reach_of(caller, LOOK) if query.all else Reach(caller.id, caller.tenant_id)
    return await desk.page(session, reach, query)


@router.get(
    "/{job_id}",
    response_model=JobOut,
    responses=NOT_FOUND | BUSY | _UNCHANGED,
    dependencies=[enforce_all_policies("jobs_get", READ)],
)
@api_worker(READ)
async def read_job(
    job_id: UUID,
    *,
    waits: Waits,
    caller: CurrentPrincipal,
    request: Request,
    response: Response,
    wait: Annotated[
        int, Query(ge=0, le=MOST_WAIT_S, description="Seconds to wait for its end, if it is open")
    ] = 0,
    if_none_match: Annotated[str | None, Header(max_length=200)] = None,
) -> Any:
    """One job, with its result. While it is open, `Retry-After` says when to ask again; or let the answer wait for its end."""
    reach = reach_of(caller, LOOK)
    job = await waits.look(reach, job_id)
    if wait and job.status in OPEN:
        job = await _awaited(request, waits, caller, job, wait)
    tag = _tag(job)
    if job.status in OPEN:
        response.headers["Retry-After"] = str(_pause_s(job))
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "private, no-cache"
    if if_none_match is not None and _is_known(tag, if_none_match):
        return Response(status_code=304, headers=dict(response.headers))
    return job


@router.post(
    "/{job_id}/cancel",
    responses=NOT_FOUND | ENDED | _ASKED,
    dependencies=[enforce_all_policies("jobs_cancel", CHANGE)],
)
@api_worker(CHANGE)
async def cancel_job(
    job_id: UUID, desk: Desk, session: Session, caller: CurrentPrincipal, response: Response
) -> JobOut:
    """End a job: one that is queued at once (200), one that runs by its worker, within seconds (202). Twice is as good as once."""
    job = await desk.cancel(session, reach_of(caller, ACT), job_id)
    if job.status == "running":
        response.status_code = 202
    return job


@router.post(
    "/{job_id}/retry",
    status_code=202,
    responses=NOT_FOUND | ENDED | UNPAID,
    dependencies=[enforce_all_policies("jobs_retry", CHANGE)],
)
@api_worker(CHANGE)
async def retry_job(job_id: UUID, desk: Desk, session: Session, caller: CurrentPrincipal) -> JobOut:
    """Run a job again that failed or was cancelled, with all its attempts. Its price, if it was given back, is taken again."""
    return await desk.retry(session, reach_of(caller, ACT), job_id)


async def _awaited(
    request: Request, waits: JobWaits, caller: Principal, job: JobOut, wait_s: float
) -> JobOut:
    """The job at its end or when the wait is over. Raises ClientDisconnect as soon as nobody listens any more."""
    with waits.seat(caller.id):
        waiting = asyncio.ensure_future(waits.until_ended(reach_of(caller, LOOK), job, wait_s))
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise ClientDisconnect
            return waiting.result()
        finally:
            waiting.cancel()
            leaving.cancel()
            await asyncio.gather(waiting, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _tag(job: JobOut) -> str:
    return f'"{blake2b(job.model_dump_json().encode(), digest_size=12).hexdigest()}"'


def _is_known(tag: str, if_none_match: str) -> bool:
    """Whether the caller has it; a proxy that compresses answers makes their tags weak (RFC 9110, section 13.1.2)."""
    known = [one.strip() for one in if_none_match.split(",")]
    return "*" in known or tag in (one.removeprefix("W/") for one in known)


def _pause_s(job: JobOut) -> int:
    """Seconds, 1 to 5: the further a job is from its end, the longer nothing happens."""
    if job.progress is not None:
        return 1 + round(4 * (1 - job.progress))
    return 2 if job.status == "running" else 3
