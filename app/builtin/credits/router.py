"""``/credits``: the caller's balance and history, and grants by an administrator."""

from typing import Annotated, Any

from fastapi import Depends, Query

from app.builtin.credits.schemas import CreditsOut, GrantCreate, GrantOut, LedgerPage, LedgerQuery
from app.builtin.credits.service import CreditDesk
from app.core import (
    APIRouter,
    CurrentPrincipal,
    JobConfig,
    Security,
    api_worker,
    enforce_all_policies,
    provided,
)
from app.core.context import current_context
from app.core.db import AsyncSession, get_db
from app.core.http import CurrentIdempotencyKey
from app.core.policies import Idempotency

READ = JobConfig(security=Security(scopes=("read:credits",)))
GRANT = JobConfig(
    security=Security(scopes=("write:credits",), roles=("admin",)),
    idempotency=Idempotency(durability="db", required=True),
    max_body=65_536,
)
REFUSALS: dict[int | str, Any] = {
    404: {"description": "There is neither such an account nor such a user"},
    409: {"description": "The key stands for another grant, or is being worked on"},
}

router = APIRouter(prefix="/credits", tags=["credits"])
Session = Annotated[AsyncSession, Depends(get_db)]
Desk = Annotated[CreditDesk, Depends(provided(CreditDesk))]


@router.get("", dependencies=[enforce_all_policies("credits_read", READ)])
@api_worker(READ)
async def read_credits(desk: Desk, session: Session, caller: CurrentPrincipal) -> CreditsOut:
    """The caller's balance, plan and use."""
    return await desk.overview(session, caller.id)


@router.get("/ledger", dependencies=[enforce_all_policies("credits_ledger", READ)])
@api_worker(READ)
async def list_ledger(
    query: Annotated[LedgerQuery, Query()], desk: Desk, session: Session, caller: CurrentPrincipal
) -> LedgerPage:
    """What was given to the caller and taken from him, newest first."""
    return await desk.history(session, caller.id, query)


@router.post(
    "/grants",
    status_code=201,
    responses=REFUSALS,
    dependencies=[enforce_all_policies("credits_grant", GRANT)],
)
@api_worker(GRANT)
async def create_grant(
    new: GrantCreate,
    desk: Desk,
    session: Session,
    caller: CurrentPrincipal,
    key: CurrentIdempotencyKey,
) -> GrantOut:
    """Give credits to a user. The `Idempotency-Key` also stands in the ledger: one key grants once, for ever."""
    return await desk.grant(
        session,
        new,
        by=caller.id,
        key=key,
        request_id=current_context().request_id,
    )
