"""Codes: those of an authenticator app (TOTP, RFC 6238), and recovery codes. Pure: who may try them how often is decided elsewhere."""

import base64
import secrets
from hashlib import sha256
from hmac import compare_digest
from uuid import UUID

import pyotp
import segno

STEP_S = 30
WINDOW = 1
"""Steps that a phone's clock may differ, either way."""
RECOVERY_CODES = 10
_RECOVERY_BYTES = 10


def new_secret() -> str:
    """160 random bits as base32, which apps take."""
    return pyotp.random_base32()


def otpauth_uri(secret: str, email: str, issuer: str) -> str:
    """What an app reads from the QR code; ``issuer`` and ``email`` are what it shows."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=issuer)


def qr_svg(uri: str) -> str:
    """An ``<svg>`` element with the QR code of ``uri``: no script, no reference to anywhere."""
    return segno.make(uri, micro=False, error="m").svg_inline(scale=4)


def step_of(secret: str, code: str, now: float, *, after: int) -> int | None:
    """The time step for which ``code`` is right, at ``now`` (seconds since the epoch) or ``WINDOW`` beside it; None for a wrong code.

    None too for one of a step that is not later than ``after``: that, or a newer one, was used already. Always compares with every step.
    """
    current, codes, found = int(now // STEP_S), pyotp.HOTP(secret), None
    for step in range(current - WINDOW, current + WINDOW + 1):
        is_right = compare_digest(codes.at(step), code)
        if is_right and step > after:
            found = step
    return found


def new_recovery_codes() -> list[str]:
    """Recovery codes as they are shown: 80 random bits each, in four groups."""
    return [_grouped(secrets.token_bytes(_RECOVERY_BYTES)) for _ in range(RECOVERY_CODES)]


def hash_of_recovery(user_id: UUID, code: str) -> bytes:
    """How a recovery code is looked up, written with or without dashes. One of 80 random bits needs no salt and no slow hash."""
    return sha256(user_id.bytes + code.upper().replace("-", "").encode()).digest()


def _grouped(bits: bytes) -> str:
    text = base64.b32encode(bits).decode()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))
