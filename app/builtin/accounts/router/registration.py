"""``/auth/register``: accounts that people make for themselves."""

from typing import Annotated, Any

from fastapi import Depends

from app.builtin.accounts.router._mailing import ASK, NO_LINK, TAKEN
from app.builtin.accounts.schemas import RegistrationConfirmation, RegistrationRequest
from app.builtin.accounts.service import Registration
from app.core import APIRouter, api_worker, enforce_all_policies, provided
from app.core.db import AsyncSession, get_db

router = APIRouter(prefix="/auth", tags=["accounts"])

OFF: dict[int | str, Any] = {404: {"description": "Nobody can register here"}}
Registrations = Annotated[Registration, Depends(provided(Registration))]


@router.post(
    "/register", status_code=202, responses=OFF, dependencies=[enforce_all_policies("auth_register", ASK)]
)
@api_worker(ASK)
async def register(body: RegistrationRequest, registration: Registrations) -> None:
    """Send a link to make an account; who has one is told so by mail. The answer is the same for both."""
    await registration.request(body.email)


@router.post(
    "/register/confirm",
    status_code=201,
    responses={**OFF, **NO_LINK, **TAKEN},
    dependencies=[enforce_all_policies("auth_register_confirm", ASK)],
)
@api_worker(ASK)
async def confirm_registration(
    body: RegistrationConfirmation,
    session: Annotated[AsyncSession, Depends(get_db)],
    registration: Registrations,
) -> None:
    """Make the account with the link that was sent, and a password. Nobody is signed in."""
    await registration.confirm(session, body.token.get_secret_value(), body.password.get_secret_value())
