"""``/api-keys``: the caller's API keys."""

from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Response

from app.builtin.accounts.router._private import keep_private
from app.builtin.accounts.schemas import (
    ApiKeyCreated,
    ApiKeyOut,
    ApiKeyPage,
    ApiKeyQuery,
    ApiKeyRequest,
    ApiKeyRotation,
)
from app.builtin.accounts.service import ApiKeyDesk
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

router = APIRouter(prefix="/api-keys", tags=["accounts"])

# No API key makes, changes or sees keys: whoever finds one must not be able to keep what he has when it is revoked.
BY_TOKEN = JobConfig(security=Security(api_keys=False))
# Each of these leaves a row and a line in the audit log, and ended secrets have to be told to everybody: nobody needs many of them.
CHANGE = JobConfig(
    security=Security(api_keys=False),
    rate_limit=RateLimit.fixed_window("changes", limit=30, window=60, shared="api_key_changes"),
    max_body=65_536,
)
# A key outlives the sign-in: whoever found a device unlocked must not be able to make one.
CREATE = replace(CHANGE, security=Security(api_keys=False, max_age=3600))
REFUSED: dict[int | str, Any] = {
    400: {"description": "The presented token cannot give a scope or role that was asked for"},
    409: {"description": "The caller has as many keys as he may have"},
}
NO_KEY: dict[int | str, Any] = {404: {"description": "The caller has no such API key"}}
NOT_ROTATED: dict[int | str, Any] = NO_KEY | {409: {"description": "The key has expired"}}
Session = Annotated[AsyncSession, Depends(get_db)]
Desk = Annotated[ApiKeyDesk, Depends(provided(ApiKeyDesk))]


@router.post(
    "", status_code=201, responses=REFUSED, dependencies=[enforce_all_policies("api_keys_create", CREATE)]
)
@api_worker(CREATE)
async def create_api_key(
    body: ApiKeyRequest, desk: Desk, session: Session, caller: CurrentPrincipal, response: Response
) -> ApiKeyCreated:
    """Make an API key. Its text is in this answer and cannot be had again. It gets no right that the presented token does not carry."""
    created = await desk.create(session, caller, body)
    keep_private(response)
    return created


@router.get("", dependencies=[enforce_all_policies("api_keys_list", BY_TOKEN)])
@api_worker(BY_TOKEN)
async def list_api_keys(
    query: Annotated[ApiKeyQuery, Query()], desk: Desk, session: Session, caller: CurrentPrincipal
) -> ApiKeyPage:
    """The caller's keys, newest first: how they begin and end, never their secrets. Deleted ones are not among them."""
    return await desk.page(session, caller, query)


@router.get("/{key_id}", responses=NO_KEY, dependencies=[enforce_all_policies("api_keys_get", BY_TOKEN)])
@api_worker(BY_TOKEN)
async def read_api_key(key_id: UUID, desk: Desk, session: Session, caller: CurrentPrincipal) -> ApiKeyOut:
    """One of the caller's keys, without its secret."""
    return await desk.get(session, caller, key_id)


@router.delete(
    "/{key_id}",
    status_code=204,
    responses=NO_KEY,
    dependencies=[enforce_all_policies("api_keys_revoke", CHANGE)],
)
@api_worker(CHANGE)
async def revoke_api_key(key_id: UUID, desk: Desk, session: Session, caller: CurrentPrincipal) -> None:
    """End a key for good; it is refused from the next request on."""
    await desk.revoke(session, caller, key_id)


@router.post(
    "/{key_id}/rotate",
    responses=NOT_ROTATED,
    dependencies=[enforce_all_policies("api_keys_rotate", CHANGE)],
)
@api_worker(CHANGE)
async def rotate_api_key(
    key_id: UUID,
    *,
    body: ApiKeyRotation,
    desk: Desk,
    session: Session,
    caller: CurrentPrincipal,
    response: Response,
) -> ApiKeyCreated:
    """Give a key a new secret, shown once. The old one stays good for `overlap_s` seconds, so that clients can be changed one by one."""
    rotated = await desk.rotate(session, caller, key_id, body)
    keep_private(response)
    return rotated
