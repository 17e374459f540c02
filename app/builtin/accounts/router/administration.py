"""``/users``: accounts in the hands of administrators."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Query, Response

from app.builtin.accounts.schemas import UserChange, UserCreate, UserOut, UserPage, UserQuery
from app.builtin.accounts.service import ADMIN, Administration, user_out
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

READ = JobConfig(security=Security(scopes=("read:users",), roles=(ADMIN,)))
# By a person, not by whoever finds an API key.
# Closed: what changes rights must end tokens in the store, too, so that it is refused without the store in any case.
WRITE = JobConfig(
    security=Security(scopes=("write:users",), roles=(ADMIN,), api_keys=False),
    rate_limit=RateLimit.fixed_window("user", limit=120, window=60, on_store_down="closed"),
    max_body=65_536,
)
_UNKNOWN = {"description": "There is no such user"}
_SPARED = {"description": "It is the caller's own account, or that of the last active administrator"}
_NOT_HELD = {"description": "The caller may not do this, or would give a right that he does not have himself"}
NO_USER: dict[int | str, Any] = {404: _UNKNOWN}
SPARED: dict[int | str, Any] = {404: _UNKNOWN, 409: _SPARED}
GIVING: dict[int | str, Any] = {403: _NOT_HELD, 404: _UNKNOWN}

router = APIRouter(prefix="/users", tags=["administration"])
# Of the form of an id, so that `/users/me` and its like are no users.
ONE = "/{user_id:uuid}"
Session = Annotated[AsyncSession, Depends(get_db)]
Desk = Annotated[Administration, Depends(provided(Administration))]
Name = Annotated[str, Path(max_length=64, pattern=r"^[a-z][a-z0-9_.:-]*$")]


@router.get("", dependencies=[enforce_all_policies("users_list", READ)])
@api_worker(READ)
async def list_users(query: Annotated[UserQuery, Query()], desk: Desk, session: Session) -> UserPage:
    """Users, newest first, by address, role and whether they can sign in."""
    return await desk.page(session, query)


@router.post(
    "",
    status_code=201,
    responses={403: _NOT_HELD, 409: {"description": "This e-mail address has an account already"}},
    dependencies=[enforce_all_policies("users_create", WRITE)],
)
@api_worker(WRITE)
async def create_user(
    new: UserCreate, desk: Desk, session: Session, caller: CurrentPrincipal, response: Response
) -> UserOut:
    """Add a user, who can sign in at once."""
    user = await desk.create(
        session, new.email, new.password.get_secret_value(), roles=new.roles, scopes=new.scopes, by=caller
    )
    response.headers["Location"] = f"/users/{user.id}"
    return user_out(user)


@router.get(ONE, responses=NO_USER, dependencies=[enforce_all_policies("users_read", READ)])
@api_worker(READ)
async def read_user(user_id: UUID, desk: Desk, session: Session) -> UserOut:
    """One user and what he may do."""
    return user_out(await desk.get(session, user_id))


@router.patch(ONE, responses={**GIVING, **SPARED}, dependencies=[enforce_all_policies("users_change", WRITE)])
@api_worker(WRITE)
async def change_user(
    user_id: UUID, change: UserChange, desk: Desk, session: Session, caller: CurrentPrincipal
) -> UserOut:
    """Disable a user, which ends his sessions and tokens, or enable him again."""
    turn = desk.enable if change.is_active else desk.disable
    return user_out(await turn(session, user_id, by=caller))


@router.delete(
    ONE, status_code=204, responses=SPARED, dependencies=[enforce_all_policies("users_delete", WRITE)]
)
@api_worker(WRITE)
async def delete_user(user_id: UUID, desk: Desk, session: Session, caller: CurrentPrincipal) -> None:
    """Delete a user and all that belongs to him. His tokens are refused from the next request on."""
    await desk.delete(session, user_id, by=caller)


@router.put(
    ONE + "/roles/{role}", responses=GIVING, dependencies=[enforce_all_policies("users_role_give", WRITE)]
)
@api_worker(WRITE)
async def give_role(
    user_id: UUID, role: Name, desk: Desk, session: Session, caller: CurrentPrincipal
) -> UserOut:
    """Give a role; the user's access tokens end, a refresh carries it."""
    return user_out(await desk.give(session, user_id, roles=[role], by=caller))


@router.delete(
    ONE + "/roles/{role}",
    status_code=204,
    responses=SPARED,
    dependencies=[enforce_all_policies("users_role_take", WRITE)],
)
@api_worker(WRITE)
async def take_role(
    user_id: UUID, role: Name, desk: Desk, session: Session, caller: CurrentPrincipal
) -> None:
    """Take a role, if the user has it; his access tokens end."""
    await desk.take(session, user_id, roles=[role], by=caller)


@router.put(
    ONE + "/scopes/{scope}", responses=GIVING, dependencies=[enforce_all_policies("users_scope_give", WRITE)]
)
@api_worker(WRITE)
async def give_scope(
    user_id: UUID, scope: Name, desk: Desk, session: Session, caller: CurrentPrincipal
) -> UserOut:
    """Give a scope; the user has it from his next sign-in on."""
    return user_out(await desk.give(session, user_id, scopes=[scope], by=caller))


@router.delete(
    ONE + "/scopes/{scope}",
    status_code=204,
    responses=NO_USER,
    dependencies=[enforce_all_policies("users_scope_take", WRITE)],
)
@api_worker(WRITE)
async def take_scope(
    user_id: UUID, scope: Name, desk: Desk, session: Session, caller: CurrentPrincipal
) -> None:
    """Take a scope that the user was given himself; his access tokens end. Those of his roles go with the role."""
    await desk.take(session, user_id, scopes=[scope], by=caller)


@router.post(
    ONE + "/sign-out",
    status_code=204,
    responses=NO_USER,
    dependencies=[enforce_all_policies("users_sign_out", WRITE)],
)
@api_worker(WRITE)
async def sign_out_user(user_id: UUID, desk: Desk, session: Session) -> None:
    """End all sessions and tokens of a user; he may sign in again."""
    await desk.sign_out(session, user_id)
