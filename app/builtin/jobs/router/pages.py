"""``/ui/jobs``: jobs for people on call."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from app.builtin.jobs.router.gates import Desk, Session
from app.builtin.jobs.schemas import SPANS, JobsPageQuery, RetryForm
from app.builtin.jobs.service import ACT, LOOK, BulkRetry, QueueDesk, reach_of, see, without_secrets
from app.core import (
    Bulkhead,
    CurrentPrincipal,
    JobConfig,
    PageRouter,
    Pages,
    Security,
    api_worker,
    enforce_all_policies,
    in_menu,
    provided,
)
from app.core.context import Principal
from app.core.db import AsyncSession
from app.core.errors import Conflict, GatehouseError, PolicyRejected
from app.core.http import platform_of
from app.core.jobs import STATUSES
from app.core.monitor import panel

SEE = JobConfig(security=Security(scopes=(LOOK,)), bulkhead=Bulkhead(max=8, queue=64), timeout=10)
DO = JobConfig(security=Security(scopes=(ACT,)), max_body=65_536)
DO_MANY = JobConfig(
    security=Security(scopes=(ACT,)), bulkhead=Bulkhead(max=1, queue=2), max_body=65_536, timeout=30
)

HOME = "/ui/jobs"
Queues = Annotated[QueueDesk, Depends(provided(QueueDesk))]
Bulk = Annotated[BulkRetry, Depends(provided(BulkRetry))]

router = PageRouter(prefix=HOME)
_pages = Pages("app.builtin.jobs")


@router.get("", dependencies=[enforce_all_policies("ui_jobs", SEE)])
@api_worker(SEE)
@in_menu("Jobs", "what runs in the background, what waits, and what is dead")
async def jobs_page(
    *,
    query: Annotated[JobsPageQuery, Query()],
    request: Request,
    queues: Queues,
    desk: Desk,
    session: Session,
    caller: CurrentPrincipal,
) -> Response:
    """How the queues stand, who works, and the jobs, the newest first."""
    now = _now(request)
    asked = query.query(now, status=query.status, cursor=query.cursor)
    found = await desk.page(session, reach_of(caller, LOOK), asked, query.owner)
    standing = await panel("queues", queues.states)
    workers = await panel("workers", queues.all_workers)
    return _pages.answer(
        request, "jobs.html", scripts=("live",), home=HOME, now=now, query=query, spans=tuple(SPANS), statuses=STATUSES,
        jobs=[without_secrets(job) for job in found.items], queues=standing, workers=workers, may_act=ACT in caller.scopes,
        is_filtered=bool(query.model_fields_set),
        newest=query.link(cursor=None) if query.cursor else None,
        older=query.link(cursor=found.next_cursor) if found.next_cursor else None,
    )  # fmt: skip


@router.post("/retry-dead", dependencies=[enforce_all_policies("ui_jobs_retry_dead", DO_MANY)])
@api_worker(DO_MANY)
async def retry_dead(
    form: Annotated[RetryForm, Form()], request: Request, bulk: Bulk, caller: CurrentPrincipal
) -> Response:
    """Have the dead jobs of a list run again, and say how many do."""
    ran = await bulk.retry_dead(reach_of(caller, ACT), form.query(_now(request)), form.owner)
    return _pages.answer(
        request, "retried.html", ran=ran, most=bulk.most, home=HOME, back=form.link(status="dead", csrf_token=None)
    )  # fmt: skip


@router.get("/{job_id}", dependencies=[enforce_all_policies("ui_job", SEE)])
@api_worker(SEE)
async def job_page(job_id: UUID, request: Request, session: Session, caller: CurrentPrincipal) -> Response:
    """One job."""
    return await _job(request, session, caller, job_id)


@router.post("/{job_id}/cancel", dependencies=[enforce_all_policies("ui_job_cancel", DO)])
@api_worker(DO)
async def cancel_job(
    *,
    job_id: UUID,
    request: Request,
    desk: Desk,
    session: Session,
    caller: CurrentPrincipal,
) -> Response:
    """End it, and show it again."""
    try:
        await desk.cancel(session, reach_of(caller, ACT), job_id)
    except Conflict as refusal:
        return await _job(request, session, caller, job_id, refusal)
    return RedirectResponse(f"{HOME}/{job_id}", status_code=303)


@router.post("/{job_id}/retry", dependencies=[enforce_all_policies("ui_job_retry", DO)])
@api_worker(DO)
async def retry_job(
    *,
    job_id: UUID,
    request: Request,
    desk: Desk,
    session: Session,
    caller: CurrentPrincipal,
) -> Response:
    """Have it run again, and show it."""
    try:
        await desk.retry(session, reach_of(caller, ACT), job_id)
    except (Conflict, PolicyRejected) as refusal:
        return await _job(request, session, caller, job_id, refusal)
    return RedirectResponse(f"{HOME}/{job_id}", status_code=303)


async def _job(
    request: Request,
    session: AsyncSession,
    caller: Principal,
    job_id: UUID,
    refusal: GatehouseError | None = None,
) -> Response:
    """The job's page; after a refusal with the reason, and nothing of what was tried stays."""
    if refusal is not None:
        await session.rollback()
    # Who was let in to act sees what he acted upon.
    sight = await see(session, reach_of(caller, LOOK if refusal is None else ACT), job_id)
    return _pages.answer(
        request, "job.html", scripts=("live", "copy"), home=HOME, now=_now(request), sight=sight, may_act=ACT in caller.scopes,
        status=refusal.status if refusal is not None else 200,
        refusal=(refusal.detail or refusal.title) if refusal is not None else None,
    )  # fmt: skip


def _now(request: Request) -> datetime:
    return datetime.fromtimestamp(platform_of(request).clock.time(), UTC)
