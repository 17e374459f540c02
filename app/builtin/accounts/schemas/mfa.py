"""The second factor: what is presented, and what is answered."""

import re
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from app.builtin.accounts.schemas._strict import MAX_PASSWORD, Strict

_TOTP = r"[0-9]{3} ?[0-9]{3}"
_RECOVERY = r"[A-Za-z2-7]{4}(-?[A-Za-z2-7]{4}){3}"


def _totp(value: SecretStr) -> SecretStr:
    code = value.get_secret_value()
    if not re.fullmatch(_TOTP, code):
        raise ValueError("a code has six digits")
    return SecretStr(code.replace(" ", ""))


def _recovery(value: SecretStr) -> SecretStr:
    code = value.get_secret_value()
    if not re.fullmatch(_RECOVERY, code):
        raise ValueError("a recovery code has four groups of four letters and digits")
    return SecretStr(code.upper().replace("-", ""))


Totp = Annotated[
    SecretStr,
    Field(description="Six digits, from the app", json_schema_extra={"pattern": f"^{_TOTP}$"}),
    AfterValidator(_totp),
]
Recovery = Annotated[
    SecretStr,
    Field(
        description="One of the recovery codes, good once", json_schema_extra={"pattern": f"^{_RECOVERY}$"}
    ),
    AfterValidator(_recovery),
]


class MfaProof(Strict):
    """A second factor: a code of the app, or a recovery code."""

    code: Totp | None = None
    recovery_code: Recovery | None = None

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        given = [name for name in _PROOFS if getattr(self, name, None) is not None]
        if len(given) != 1:
            raise ValueError("send exactly one proof")
        return self


_PROOFS = ("code", "recovery_code", "password")


class MfaGrant(MfaProof):
    """The second half of a sign-in."""

    mfa_token: Annotated[
        SecretStr, Field(min_length=1, max_length=255, description="From the answer of /auth/token")
    ]


class StepUpForm(MfaProof):
    """A proof for a session that is there already: the password only of users without a second factor."""

    password: Annotated[SecretStr | None, Field(min_length=1, max_length=MAX_PASSWORD)] = None


class MfaConfirmation(Strict):
    """Shows that the app works."""

    code: Totp


class MfaStatus(BaseModel):
    """The caller's second factor."""

    enabled: bool
    since: datetime | None
    recovery_codes_left: int


class MfaEnrolment(BaseModel):
    """What the app must be told, shown once; good for ``expires_in`` seconds."""

    secret: str = Field(repr=False, description="Base32, for apps without a camera")
    uri: str = Field(repr=False, description="otpauth://, the content of the QR code")
    qr_svg: str = Field(repr=False, description="The QR code, as an <svg> element")
    expires_in: int


class RecoveryCodes(BaseModel):
    """The recovery codes, shown once; each is good once, and earlier ones no longer."""

    recovery_codes: list[str] = Field(repr=False)


class RenewedToken(BaseModel):
    """An access token of the same session; its refresh token stays. ``expires_in`` is in seconds."""

    access_token: str = Field(repr=False)
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the kind of token
    expires_in: int
    scope: str


class MfaEnabled(RenewedToken, RecoveryCodes):
    """The second factor is on: recovery codes, and a token that says so."""
