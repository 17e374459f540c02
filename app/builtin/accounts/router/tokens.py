"""``/auth/token``, ``/auth/refresh``: sign in, go on."""

from typing import Annotated, Any

from fastapi import Depends, Form, Request, Response

from app.builtin.accounts.router._private import keep_private
from app.builtin.accounts.router.device_cookie import keep_device, keep_device_of, known_device
from app.builtin.accounts.schemas import PasswordGrant, RefreshGrant, TokenAnswer
from app.builtin.accounts.service import MfaRequired, Opened, Sessions, SignIn
from app.core import APIRouter, JobConfig, RateLimit, api_worker, enforce_all_policies, provided
from app.core.db import AsyncSession, get_db

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

NO_GRANT: dict[int | str, Any] = {
    400: {"description": "None of the scopes asked for can be given"},
    401: {"description": "The credentials are not valid"},
    409: {"description": "The account has more roles or scopes than a token can carry"},
}
Session = Annotated[AsyncSession, Depends(get_db)]


@router.post("/auth/token", responses=NO_GRANT, dependencies=[enforce_all_policies("auth_token", SIGN_IN)])
@api_worker(SIGN_IN)
async def create_token(
    form: Annotated[PasswordGrant, Form()],
    session: Session,
    sign_in: Annotated[SignIn, Depends(provided(SignIn))],
    request: Request,
    response: Response,
) -> TokenAnswer:
    """Exchange an e-mail address and a password for a bearer token and a refresh token: a new session.

    The token carries those of the scopes asked for that the user has; without `scope` all of them. None of
    them: 400. A user with a second factor gets 401 with `error` `mfa_required` and an `mfa_token`, for
    /auth/mfa/token. Wrong attempts are limited by account and network: 429 says when to try again. The cookie that comes with the answer
    lets the next sign-in from this browser be known; it proves nothing.
    """
    password = form.password.get_secret_value()
    try:
        opened = await sign_in.with_password(
            session, form.username, password, form.scope, device=known_device(request)
        )
    except MfaRequired as waiting:
        keep_device_of(request, waiting, life_s=sign_in.device_life_s)
        raise
    keep_device(request, response, opened.device, life_s=sign_in.device_life_s)
    return answer_of(opened, response)


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
    return answer_of(opened, response)


def answer_of(opened: Opened, response: Response) -> TokenAnswer:
    """The tokens as a client gets them, and as nobody on the way keeps them."""
    keep_private(response)
    return TokenAnswer(
        access_token=opened.access.token,
        expires_in=opened.access.expires_in,
        refresh_token=opened.refresh_token,
        refresh_expires_in=opened.refresh_expires_in,
        scope=str(opened.access.claims["scope"]),
    )
