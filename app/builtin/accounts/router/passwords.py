"""``/users/me/password``, ``/auth/password-reset``: another password."""

from typing import Annotated

from fastapi import Depends

from app.builtin.accounts.router._mailing import ASK, NO_LINK, NO_MAIL, NO_PASSWORD, OWN
from app.builtin.accounts.schemas import PasswordChangeIn, PasswordResetConfirmation, PasswordResetRequest
from app.builtin.accounts.service import PasswordChange, PasswordReset
from app.core import APIRouter, CurrentPrincipal, api_worker, enforce_all_policies, provided
from app.core.db import AsyncSession, get_db

router = APIRouter(tags=["accounts"])

Session = Annotated[AsyncSession, Depends(get_db)]
Reset = Annotated[PasswordReset, Depends(provided(PasswordReset))]


@router.post(
    "/users/me/password",
    status_code=204,
    responses=NO_PASSWORD,
    dependencies=[enforce_all_policies("users_me_password", OWN)],
)
@api_worker(OWN)
async def change_password(
    body: PasswordChangeIn,
    session: Session,
    changes: Annotated[PasswordChange, Depends(provided(PasswordChange))],
    caller: CurrentPrincipal,
) -> None:
    """Set another password. All sessions of the caller end, the presented token too: sign in again."""
    current, new = body.current_password.get_secret_value(), body.new_password.get_secret_value()
    await changes.change(session, caller, current, new)


@router.post(
    "/auth/password-reset",
    status_code=202,
    responses=NO_MAIL,
    dependencies=[enforce_all_policies("auth_password_reset", ASK)],
)
@api_worker(ASK)
async def request_password_reset(body: PasswordResetRequest, resets: Reset) -> None:
    """Send a link to set a new password, if a user has this address. The answer is the same when nobody has it."""
    await resets.request(body.email)


@router.post(
    "/auth/password-reset/confirm",
    status_code=204,
    responses=NO_LINK,
    dependencies=[enforce_all_policies("auth_password_reset_confirm", ASK)],
)
@api_worker(ASK)
async def confirm_password_reset(body: PasswordResetConfirmation, session: Session, resets: Reset) -> None:
    """Set a new password with the link that was sent. All sessions of the user end, and nobody is signed in; a second factor stays."""
    await resets.confirm(session, body.token.get_secret_value(), body.new_password.get_secret_value())
