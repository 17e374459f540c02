"""The tokens of a session, as they are handed out once."""

from dataclasses import dataclass, field

from app.core.security import IssuedToken


@dataclass(frozen=True, slots=True)
class Opened:
    """An access token and the refresh token for the next one; ``refresh_expires_in`` is in seconds. ``device``, after a sign-in: what the
    browser keeps to be known next time. Its repr hides all three.
    """

    access: IssuedToken
    refresh_token: str = field(repr=False)
    refresh_expires_in: int
    device: str | None = field(default=None, repr=False)
