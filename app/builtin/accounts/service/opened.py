"""The tokens of a session, as they are handed out once."""

import secrets
from dataclasses import dataclass, field
from hashlib import sha256

from app.core.security import IssuedToken

_PREFIX = "rt_"


@dataclass(frozen=True, slots=True)
class Opened:
    """An access token and the refresh token for the next one; ``refresh_expires_in`` is in seconds. ``device``, after a sign-in: what the
    browser keeps to be known next time. Its repr hides all three.
    """

    access: IssuedToken
    refresh_token: str = field(repr=False)
    refresh_expires_in: int
    device: str | None = field(default=None, repr=False)


def new_token() -> str:
    """An opaque token of 256 random bits; its beginning lets scanners for leaked secrets know it."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_of(token: str) -> bytes:
    """How a refresh token is looked up. One of 256 random bits needs no salt and no slow hash. Any text has one."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
