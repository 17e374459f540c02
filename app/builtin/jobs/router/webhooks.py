"""``/webhooks``: where the caller is told of the ends of his jobs."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Response

from app.builtin.jobs.schemas import (
    DeliveryOut,
    DeliveryPage,
    DeliveryQuery,
    WebhookCreate,
    WebhookCreated,
    WebhookList,
)
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

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

# A webhook outlives the API key that made it: whoever finds a key must not be told of jobs when it is revoked.
READ = JobConfig(security=Security(api_keys=False))
# Each of these makes calls to somebody else, or looks names up.
CHANGE = JobConfig(
    security=Security(api_keys=False),
    rate_limit=RateLimit.fixed_window("changes", limit=30, window=60, shared="webhook_changes"),
    max_body=65_536,
)
REFUSED: dict[int | str, Any] = {
    409: {"description": "The caller has 20 webhooks"},
    422: {"description": "The URL is not one that may be called"},
}
NOT_THERE: dict[int | str, Any] = {404: {"description": "The caller has no such webhook"}}
INACTIVE: dict[int | str, Any] = NOT_THERE | {409: {"description": "The webhook is not active"}}
NOT_FAILED: dict[int | str, Any] = {
    404: {"description": "The caller's webhooks have no such message"},
    409: {"description": "The message has not failed, or the webhook is not active"},
}
Session = Annotated[AsyncSession, Depends(get_db)]
Desk = Annotated[WebhookDesk, Depends(provided(WebhookDesk))]


@router.post(
    "", status_code=201, responses=REFUSED, dependencies=[enforce_all_policies("webhooks_create", CHANGE)]
)
@api_worker(CHANGE)
async def create_webhook(
    body: WebhookCreate, desk: Desk, session: Session, caller: CurrentPrincipal, response: Response
) -> WebhookCreated:
    """Name a place to be told at. The secret that signs the messages is in this answer and cannot be had again."""
    created = await desk.create(session, caller, body)
    _keep_private(response)
    return created


@router.get("", dependencies=[enforce_all_policies("webhooks_list", READ)])
@api_worker(READ)
async def list_webhooks(desk: Desk, session: Session, caller: CurrentPrincipal) -> WebhookList:
    """The caller's webhooks, newest first, without their secrets."""
    return await desk.list(session, caller)


@router.delete(
    "/{webhook_id}",
    status_code=204,
    responses=NOT_THERE,
    dependencies=[enforce_all_policies("webhooks_delete", CHANGE)],
)
@api_worker(CHANGE)
async def delete_webhook(webhook_id: UUID, desk: Desk, session: Session, caller: CurrentPrincipal) -> None:
    """Send nothing there any more. The log of what was sent goes with it."""
    await desk.delete(session, caller, webhook_id)


@router.post(
    "/{webhook_id}/rotate",
    responses=NOT_THERE,
    dependencies=[enforce_all_policies("webhooks_rotate", CHANGE)],
)
@api_worker(CHANGE)
async def rotate_webhook(
    webhook_id: UUID, desk: Desk, session: Session, caller: CurrentPrincipal, response: Response
) -> WebhookCreated:
    """Give it a new secret, shown once. Messages are signed with the old one too for 24 hours."""
    rotated = await desk.rotate(session, caller, webhook_id)
    _keep_private(response)
    return rotated


@router.get(
    "/{webhook_id}/deliveries",
    responses=NOT_THERE,
    dependencies=[enforce_all_policies("webhooks_deliveries", READ)],
)
@api_worker(READ)
async def list_deliveries(
    webhook_id: UUID,
    query: Annotated[DeliveryQuery, Query()],
    *,
    desk: Desk,
    session: Session,
    caller: CurrentPrincipal,
) -> DeliveryPage:
    """What was sent to it, newest first, and how each try went. What it answered besides a status is not kept."""
    return await desk.deliveries(session, caller, webhook_id, query)


@router.post(
    "/{webhook_id}/test",
    status_code=202,
    responses=INACTIVE,
    dependencies=[enforce_all_policies("webhooks_test", CHANGE)],
)
@api_worker(CHANGE)
async def test_webhook(
    webhook_id: UUID, desk: Desk, session: Session, caller: CurrentPrincipal
) -> DeliveryOut:
    """Send it a ping."""
    return await desk.test(session, caller, webhook_id)


@router.post(
    "/deliveries/{delivery_id}/retry",
    status_code=202,
    responses=NOT_FAILED,
    dependencies=[enforce_all_policies("webhooks_retry", CHANGE)],
)
@api_worker(CHANGE)
async def retry_delivery(
    delivery_id: UUID, desk: Desk, session: Session, caller: CurrentPrincipal
) -> DeliveryOut:
    """Try a message again that was given up."""
    return await desk.retry(session, caller, delivery_id)


def _keep_private(response: Response) -> None:
    """Nobody on the way keeps an answer that holds a secret."""
    response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
