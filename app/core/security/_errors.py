"""Why a token is not believed, and why something encrypted is not read."""

from app.core.errors import GatehouseError, NotAuthenticated


class InvalidToken(NotAuthenticated):
    """The presented token proves nothing; 401 with ``WWW-Authenticate: Bearer error="invalid_token"``.

    The caller is told only that the token is invalid or expired. ``reason`` is one short word for logs and
    tests (``signature``, ``aud``, ``exp`` and so on); it never holds any part of the token.
    """

    def __init__(self, reason: str) -> None:
        detail = "The access token has expired." if reason == "expired" else "The access token is not valid."
        super().__init__(detail, challenge='Bearer error="invalid_token"')
        self.reason = reason


class DecryptionFailed(GatehouseError):
    """Something encrypted cannot be read: none of our keys opens it, or somebody changed it. Never answered with garbage.

    The reason is for operators (log, command line); the caller of an endpoint gets a plain 500.
    """

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.args = (reason,)
