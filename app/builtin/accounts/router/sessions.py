"""``/auth/logout``, ``/auth/sessions``: the caller's sessions, and their end."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query

from app.builtin.accounts.schemas import LogoutQuery, SessionPage, SessionQuery
from app.builtin.accounts.service import SessionDesk
from app.core import (
    APIRouter,
    CurrentPrincipal,
    JobConfig,
    Security,
    api_worker,
    enforce_all_policies,
    provided,
)
from app.core.db import AsyncSession, get_db

router = APIRouter(prefix="/auth", tags=["accounts"])

# A key that somebody found must not sign its owner out.
ME = JobConfig(security=Security(api_keys=False))
NO_SESSION: dict[int | str, Any] = {404: {"description": "The caller has no such session"}}
Session = Annotated[AsyncSession, Depends(get_db)]
Desk = Annotated[SessionDesk, Depends(provided(SessionDesk))]


@router.post(
    "/logout",
    status_code=204,
    responses=NO_SESSION,
    dependencies=[enforce_all_policies("auth_logout", ME)],
)
@api_worker(ME)
async def log_out(
    query: Annotated[LogoutQuery, Query()], desk: Desk, session: Session, caller: CurrentPrincipal
) -> None:
    """End the session of the presented token, or with `everywhere` all of the user's. Its tokens are refused from the next request on."""
    await desk.log_out(session, caller, everywhere=query.everywhere)


@router.get("/sessions", dependencies=[enforce_all_policies("auth_sessions_list", ME)])
@api_worker(ME)
async def list_sessions(
    query: Annotated[SessionQuery, Query()], desk: Desk, session: Session, caller: CurrentPrincipal
) -> SessionPage:
    """The caller's sessions that can still be refreshed, newest first."""
    return await desk.page(session, caller, query)


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    responses=NO_SESSION,
    dependencies=[enforce_all_policies("auth_sessions_end", ME)],
)
@api_worker(ME)
async def end_session(session_id: UUID, desk: Desk, session: Session, caller: CurrentPrincipal) -> None:
    """End one of the caller's sessions; its tokens are refused from the next request on."""
    await desk.end(session, caller, session_id)
