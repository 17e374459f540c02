"""``POST /auth/token`` and ``GET /users/me``."""

from typing import Annotated, Any

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
from app.core.db import get_db
from app.core.security import format_scope

router = APIRouter(tags=["accounts"])

# Refuses while Valkey is down: passwords could be tried without a count. The limit per account is in the service, because the
# account stands in the body, which the gate does not read.
sign_in_config = JobConfig.public(
    rate_limit=RateLimit.fixed_window("ip", limit=20, window=60, scope="ip", on_store_down="closed")
)
me_config = JobConfig()


async def _users(session: Annotated[Any, Depends(get_db)]) -> UserRepository:
    # Any, because naming the session's class would bring SQLAlchemy into a router.
    return UserRepository(session)


Users = Annotated[UserRepository, Depends(_users)]


@router.post("/auth/token", dependencies=[enforce_all_policies("auth_token", sign_in_config)])
@api_worker(sign_in_config)
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


@router.get("/users/me", dependencies=[enforce_all_policies("users_me", me_config)])
@api_worker(me_config)
async def read_me(principal: CurrentPrincipal, users: Users) -> Me:
    """Who the presented token speaks for, and what it allows."""
    user = await current_user(users, principal)
    return Me(
        id=user.id,
        email=user.email,
        roles=sorted(principal.roles),
        scopes=format_scope(principal.scopes).split(),
    )
