"""``/auth/mfa``: the second factor of the caller, of a sign-in, and of a session once more."""

from typing import Annotated, Any

from fastapi import Depends, Form, Response

from app.builtin.accounts.router._private import keep_private
from app.builtin.accounts.router.tokens import NO_GRANT, answer_of
from app.builtin.accounts.schemas import (
    MfaConfirmation,
    MfaEnabled,
    MfaEnrolment,
    MfaGrant,
    MfaStatus,
    RecoveryCodes,
    RenewedToken,
    StepUpForm,
    TokenAnswer,
)
from app.builtin.accounts.service import MfaDesk, MfaSignIn, StepUp
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
from app.core.security import IssuedToken

router = APIRouter(prefix="/auth/mfa", tags=["accounts"])

ME = JobConfig(security=Security(api_keys=False))
# Beside the limits in the service, which are per sign-in and user; refuses while Valkey is down, as the sign-in does.
SIGN_IN = JobConfig.public(
    rate_limit=RateLimit.fixed_window("ip", limit=20, window=60, scope="ip", on_store_down="closed")
)
# Whoever changes how the caller signs in must be the caller, and not somebody who found his device unlocked.
ENROL = JobConfig(
    security=Security(max_age=600, api_keys=False),
    rate_limit=RateLimit.fixed_window("user", limit=20, window=600),
)
CHANGE = JobConfig(security=Security(mfa=True, max_age=300, api_keys=False))
# Codes and passwords could be tried by whoever stole a token: counted per user, and he must hold a token to be counted.
STEP_UP = JobConfig(
    security=Security(api_keys=False),
    rate_limit=RateLimit.fixed_window("user", limit=10, window=900, on_store_down="closed"),
)

NO_SESSION: dict[int | str, Any] = {
    404: {"description": "The caller has no such session, or no second factor"}
}
Session = Annotated[AsyncSession, Depends(get_db)]
Desk = Annotated[MfaDesk, Depends(provided(MfaDesk))]


@router.get("", dependencies=[enforce_all_policies("auth_mfa_status", ME)])
@api_worker(ME)
async def read_mfa(desk: Desk, session: Session, caller: CurrentPrincipal) -> MfaStatus:
    """Whether the caller has a second factor, and how many recovery codes he has left."""
    return await desk.status(session, caller)


@router.post(
    "/enrolment",
    status_code=201,
    responses=NO_SESSION | {409: {"description": "There is a second factor already"}},
    dependencies=[enforce_all_policies("auth_mfa_begin", ENROL)],
)
@api_worker(ENROL)
async def begin_enrolment(
    desk: Desk, session: Session, caller: CurrentPrincipal, response: Response
) -> MfaEnrolment:
    """A secret for an authenticator app, as text and as a QR code. Nothing asks for it until it is confirmed.

    Needs a sign-in of the last ten minutes.
    """
    keep_private(response)
    return await desk.begin(session, caller)


@router.post(
    "/enrolment/confirm",
    responses=NO_SESSION | {409: {"description": "Nothing was begun, or too long ago"}},
    dependencies=[enforce_all_policies("auth_mfa_confirm", ENROL)],
)
@api_worker(ENROL)
async def confirm_enrolment(
    form: Annotated[MfaConfirmation, Form()],
    desk: Desk,
    session: Session,
    caller: CurrentPrincipal,
    response: Response,
) -> MfaEnabled:
    """Switch the second factor on with a first code of the app. Answers recovery codes, once, and a token of the same session.

    The caller's other sessions end.
    """
    keep_private(response)
    enabled = await desk.confirm(session, caller, form.code.get_secret_value())
    return MfaEnabled(recovery_codes=list(enabled.recovery_codes), **_renewed(enabled.access))


@router.delete(
    "",
    status_code=204,
    responses=NO_SESSION,
    dependencies=[enforce_all_policies("auth_mfa_disable", CHANGE)],
)
@api_worker(CHANGE)
async def disable_mfa(desk: Desk, session: Session, caller: CurrentPrincipal) -> None:
    """Switch the second factor off. Needs it, shown within the last five minutes; the caller's other sessions end."""
    await desk.disable(session, caller)


@router.post(
    "/recovery-codes",
    status_code=201,
    responses=NO_SESSION,
    dependencies=[enforce_all_policies("auth_mfa_recovery_codes", CHANGE)],
)
@api_worker(CHANGE)
async def replace_recovery_codes(
    desk: Desk, session: Session, caller: CurrentPrincipal, response: Response
) -> RecoveryCodes:
    """New recovery codes, shown once; the old ones are over. Needs the second factor, shown within the last five minutes."""
    keep_private(response)
    return RecoveryCodes(recovery_codes=list(await desk.replace_codes(session, caller)))


@router.post("/token", responses=NO_GRANT, dependencies=[enforce_all_policies("auth_mfa_token", SIGN_IN)])
@api_worker(SIGN_IN)
async def create_mfa_token(
    form: Annotated[MfaGrant, Form()],
    session: Session,
    sign_in: Annotated[MfaSignIn, Depends(provided(MfaSignIn))],
    response: Response,
) -> TokenAnswer:
    """Finish a sign-in that /auth/token answered with `mfa_required`: its `mfa_token`, and a code or a recovery code.

    A wrong code is 401, and after five of them the sign-in is over; too many over several sign-ins are 429 with the time to wait.
    """
    return answer_of(await sign_in.redeem(session, form.mfa_token.get_secret_value(), form), response)


@router.post(
    "/step-up", responses=NO_SESSION, dependencies=[enforce_all_policies("auth_mfa_step_up", STEP_UP)]
)
@api_worker(STEP_UP)
async def step_up(
    form: Annotated[StepUpForm, Form()],
    session: Session,
    steps: Annotated[StepUp, Depends(provided(StepUp))],
    caller: CurrentPrincipal,
    response: Response,
) -> RenewedToken:
    """Prove once more who the caller is, for an endpoint that asked for it (RFC 9470): with a code or a recovery code, or with the password
    where there is no second factor. Answers a token of the same session whose `auth_time` is now.
    """
    keep_private(response)
    return RenewedToken(**_renewed(await steps.renew(session, caller, form)))


def _renewed(access: IssuedToken) -> dict[str, Any]:
    return {
        "access_token": access.token,
        "expires_in": access.expires_in,
        "scope": str(access.claims["scope"]),
    }
