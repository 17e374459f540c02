"""Why a token is not believed."""

from app.core.errors import NotAuthenticated


class InvalidToken(NotAuthenticated):
    """The presented token proves nothing; 401 with ``WWW-Authenticate: Bearer error="invalid_token"``.

    The caller is told only that the token is invalid or expired. ``reason`` is one short word for logs and
    tests (``signature``, ``aud``, ``exp`` and so on); it never holds any part of the token.
    """

    def __init__(self, reason: str) -> None:
        detail = "The access token has expired." if reason == "expired" else "The access token is not valid."
        super().__init__(detail, challenge='Bearer error="invalid_token"')
        self.reason = reason
