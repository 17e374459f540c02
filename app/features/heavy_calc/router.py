"""``/heavy-calc``: work for a processor, which a worker does while its caller has his answer."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Response

from app.builtin.jobs.service import WebhookDesk
from app.core import (
    APIRouter,
    CurrentPrincipal,
    JobConfig,
    RateLimit,
    Security,
    api_worker,
    enforce_all_policies,
    provided,
)
from app.core.db import AsyncSession, get_db
from app.core.jobs import JobQueue
from app.core.policies import Credits, Idempotency
from app.features.heavy_calc.schemas import HeavyJobInput, HeavyJobSubmitted

SUBMIT = JobConfig(
    security=Security(scopes=("run:cpu_job",), roles=("cpu_user",)),
    rate_limit=RateLimit.token_bucket("user", max_tokens=2, refill_rate=1),
    credits=Credits(cost=10),
    # In the database, with the job: the same key never begins a second one, whatever dies in between.
    idempotency=Idempotency(durability="db"),
    max_body=65_536,
)

ACCEPTED: dict[int | str, Any] = {
    202: {
        "description": "A worker will do it",
        "headers": {"Location": {"description": "Where to ask how far it is", "schema": {"type": "string"}}},
    }
}

router = APIRouter(prefix="/heavy-calc", tags=["heavy calculation"])
Queue = Annotated[JobQueue, Depends(provided(JobQueue))]
Session = Annotated[AsyncSession, Depends(get_db)]


@router.post(
    "", status_code=202, responses=ACCEPTED, dependencies=[enforce_all_policies("heavy_calc", SUBMIT)]
)
@api_worker(SUBMIT)
async def submit_heavy_job(  # noqa: PLR0917 - what FastAPI hands over
    payload: HeavyJobInput,
    caller: CurrentPrincipal,
    queue: Queue,
    webhooks: Annotated[WebhookDesk, Depends(provided(WebhookDesk))],
    session: Session,
    response: Response,
    webhook_id: Annotated[UUID | None, Query(description="Which of your webhooks is told of its end")] = None,
) -> HeavyJobSubmitted:
    """Have something calculated. It costs 10 credits, which are given back if it fails or is cancelled."""
    if webhook_id is not None:
        await webhooks.check(session, caller, webhook_id)
    job_id = (await queue.enqueue_payload(session, payload, webhook_id=webhook_id)).id
    response.headers["Location"] = f"/jobs/{job_id}"
    response.headers["Retry-After"] = "1"
    return HeavyJobSubmitted(job_id=job_id)
