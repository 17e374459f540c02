"""``/auth/email-verification``, ``/users/me/email``: whose address it is, and another one."""

from typing import Annotated

from fastapi import Depends

from app.builtin.accounts.router._mailing import ASK, NO_LINK, NO_MAIL, NO_PASSWORD, OWN, REMIND, TAKEN
from app.builtin.accounts.schemas import EmailChange, EmailConfirmation
from app.builtin.accounts.service import EmailVerification
from app.core import APIRouter, CurrentPrincipal, api_worker, enforce_all_policies, provided
from app.core.db import AsyncSession, get_db

router = APIRouter(tags=["accounts"])

Session = Annotated[AsyncSession, Depends(get_db)]
Verification = Annotated[EmailVerification, Depends(provided(EmailVerification))]


@router.post(
    "/auth/email-verification",
    status_code=202,
    responses=NO_MAIL,
    dependencies=[enforce_all_policies("auth_email_verification", REMIND)],
)
@api_worker(REMIND)
async def request_email_verification(
    session: Session, verification: Verification, caller: CurrentPrincipal
) -> None:
    """Send a link to the caller's address, to confirm that it is his; nothing is sent when it is confirmed."""
    await verification.request(session, caller)


@router.post(
    "/auth/email-verification/confirm",
    status_code=204,
    responses={**NO_LINK, **TAKEN},
    dependencies=[enforce_all_policies("auth_email_verification_confirm", ASK)],
)
@api_worker(ASK)
async def confirm_email(body: EmailConfirmation, session: Session, verification: Verification) -> None:
    """Confirm an address with the link that was sent to it: the one that the user has, or the one that he asked for."""
    await verification.confirm(session, body.token.get_secret_value())


@router.post(
    "/users/me/email",
    status_code=202,
    responses={**NO_PASSWORD, **NO_MAIL},
    dependencies=[enforce_all_policies("users_me_email", OWN)],
)
@api_worker(OWN)
async def change_email(
    body: EmailChange, session: Session, verification: Verification, caller: CurrentPrincipal
) -> None:
    """Send a link to another address, which becomes the caller's when he follows it, and a warning to the one that he has."""
    password = body.current_password.get_secret_value()
    await verification.request_change(session, caller, body.email, password)
