"""``/users``: who the caller is."""

from typing import Annotated

from fastapi import Depends

from app.builtin.accounts.repository import UserRepository
from app.builtin.accounts.schemas import Me
from app.builtin.accounts.service import current_user
from app.core import APIRouter, CurrentPrincipal, JobConfig, api_worker, enforce_all_policies
from app.core.db import AsyncSession, get_db
from app.core.security import format_scope

router = APIRouter(prefix="/users", tags=["accounts"])

ME = JobConfig()
Session = Annotated[AsyncSession, Depends(get_db)]


@router.get("/me", dependencies=[enforce_all_policies("users_me", ME)])
@api_worker(ME)
async def read_me(principal: CurrentPrincipal, session: Session) -> Me:
    """Who the presented token speaks for, and what it allows."""
    user = await current_user(UserRepository(session), principal)
    return Me(
        id=user.id,
        email=user.email,
        email_verified=user.email_verified_at is not None,
        roles=sorted(principal.roles),
        scopes=format_scope(principal.scopes).split(),
    )
