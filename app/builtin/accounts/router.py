"""``/auth``: sign in, go on, sign out, and the caller's sessions; ``GET /users/me``."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Form, Query, Response

from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.schemas import (
    LogoutQuery,
    Me,
    PasswordGrant,
    RefreshGrant,
    SessionPage,
    SessionQuery,
    TokenAnswer,
)
from app.builtin.accounts.service import Opened, SessionDesk, Sessions, SignIn, current_user
from app.core import (
    APIRouter,
    CurrentPrincipal,
    JobConfig,
    RateLimit,
    api_worker,
    enforce_all_policies,
    provided,
)
from app.core.db import AsyncSession, get_db
from app.core.security import format_scope

router = APIRouter(tags=["accounts"])

# Refuses while Valkey is down: passwords could be tried without a count. The limit per account is in the service, because the
# account stands in the body, which the gate does not read.
SIGN_IN = JobConfig.public(
    rate_limit=RateLimit.fixed_window("ip", limit=20, window=60, scope="ip", on_store_down="closed")
)
# A token of 256 random bits cannot be tried out; the limit bounds the work, and many users may share an address.
REFRESH = JobConfig.public(
    rate_limit=RateLimit.fixed_window("ip", limit=120, window=60, scope="ip", on_store_down="closed")
)
ME = JobConfig()

NO_GRANT: dict[int | str, Any] = {
    400: {"description": "None of the scopes asked for can be given"},
    401: {"description": "The credentials are not valid"},
}
NO_SESSION: dict[int | str, Any] = {404: {"description": "The caller has no such session"}}
Session = Annotated[AsyncSession, Depends(get_db)]
Desk = Annotated[SessionDesk, Depends(provided(SessionDesk))]


@router.post("/auth/token", responses=NO_GRANT, dependencies=[enforce_all_policies("auth_token", SIGN_IN)])
@api_worker(SIGN_IN)
async def create_token(
    form: Annotated[PasswordGrant, Form()],
    session: Session,
    sign_in: Annotated[SignIn, Depends(provided(SignIn))],
    response: Response,
) -> TokenAnswer:
    """Exchange an e-mail address and a password for a bearer token and a refresh token: a new session.

    The token carries those of the scopes asked for that the user has; without `scope` all of them. None of
    them: 400.
    """
    opened = await sign_in.with_password(session, form.username, form.password.get_secret_value(), form.scope)
    return _answer(opened, response)


@router.post(
    "/auth/refresh", responses=NO_GRANT, dependencies=[enforce_all_policies("auth_refresh", REFRESH)]
)
@api_worker(REFRESH)
async def refresh_token(
    form: Annotated[RefreshGrant, Form()],
    session: Session,
    sessions: Annotated[Sessions, Depends(provided(Sessions))],
    response: Response,
) -> TokenAnswer:
    """Exchange a refresh token for a new bearer token and the next refresh token.

    Roles and scopes are the user's of now; scopes never more than at the sign-in, and less when `scope` says so. A refresh token is good
    once: tried again after some seconds, it ends its session.
    """
    opened = await sessions.refresh(session, form.refresh_token.get_secret_value(), form.scope)
    return _answer(opened, response)


@router.post(
    "/auth/logout",
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


@router.get("/auth/sessions", dependencies=[enforce_all_policies("auth_sessions_list", ME)])
@api_worker(ME)
async def list_sessions(
    query: Annotated[SessionQuery, Query()], desk: Desk, session: Session, caller: CurrentPrincipal
) -> SessionPage:
    """The caller's sessions that can still be refreshed, newest first."""
    return await desk.page(session, caller, query)


@router.delete(
    "/auth/sessions/{session_id}",
    status_code=204,
    responses=NO_SESSION,
    dependencies=[enforce_all_policies("auth_sessions_end", ME)],
)
@api_worker(ME)
async def end_session(session_id: UUID, desk: Desk, session: Session, caller: CurrentPrincipal) -> None:
    """End one of the caller's sessions; its tokens are refused from the next request on."""
    await desk.end(session, caller, session_id)


@router.get("/users/me", dependencies=[enforce_all_policies("users_me", ME)])
@api_worker(ME)
async def read_me(principal: CurrentPrincipal, session: Session) -> Me:
    """Who the presented token speaks for, and what it allows."""
    user = await current_user(UserRepository(session), principal)
    return Me(
        id=user.id,
        email=user.email,
        roles=sorted(principal.roles),
        scopes=format_scope(principal.scopes).split(),
    )


def _answer(opened: Opened, response: Response) -> TokenAnswer:
    response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
    return TokenAnswer(
        access_token=opened.access.token,
        expires_in=opened.access.expires_in,
        refresh_token=opened.refresh_token,
        refresh_expires_in=opened.refresh_expires_in,
        scope=str(opened.access.claims["scope"]),
    )
