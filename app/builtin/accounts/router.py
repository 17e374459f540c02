"""``POST /auth/token`` and ``GET /users/me``."""

from typing import Annotated

from fastapi import Depends, Form, Response

from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.schemas import Me, PasswordGrant, TokenAnswer
from app.builtin.accounts.service import SignIn, current_user
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
ME = JobConfig()


async def _users(session: Annotated[AsyncSession, Depends(get_db)]) -> UserRepository:
    return UserRepository(session)


Users = Annotated[UserRepository, Depends(_users)]


@router.post("/auth/token", dependencies=[enforce_all_policies("auth_token", SIGN_IN)])
@api_worker(SIGN_IN)
async def create_token(
    form: Annotated[PasswordGrant, Form()],
    users: Users,
    sign_in: Annotated[SignIn, Depends(provided(SignIn))],
    response: Response,
) -> TokenAnswer:
    """Exchange an e-mail address and a password for a bearer token.

    The token carries those of the scopes asked for that the user has; without `scope` all of them. None of
    them: 400.
    """
    issued = await sign_in.with_password(users, form.username, form.password.get_secret_value(), form.scope)
    response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
    return TokenAnswer(
        access_token=issued.token, expires_in=issued.expires_in, scope=str(issued.claims["scope"])
    )


@router.get("/users/me", dependencies=[enforce_all_policies("users_me", ME)])
@api_worker(ME)
async def read_me(principal: CurrentPrincipal, users: Users) -> Me:
    """Who the presented token speaks for, and what it allows."""
    user = await current_user(users, principal)
    return Me(
        id=user.id,
        email=user.email,
        roles=sorted(principal.roles),
        scopes=format_scope(principal.scopes).split(),
    )
