"""Why a token is not believed, and why something encrypted is not read."""

from collections.abc import Awaitable, Callable

from app.core.errors import GatehouseError, NotAuthenticated, Unavailable


class InvalidToken(NotAuthenticated):
    """The presented token proves nothing; 401 with ``WWW-Authenticate: Bearer error="invalid_token"``.

    The caller is told only that the token is invalid or expired. ``reason`` is one short word for logs and
    tests (``signature``, ``aud``, ``exp`` and so on); it never holds any part of the token.
    """

    def __init__(self, reason: str) -> None:
        detail = "The access token has expired." if reason == "expired" else "The access token is not valid."
        super().__init__(detail, challenge='Bearer error="invalid_token"')
        self.reason = reason


class KeysNotLoaded(Unavailable):
    """Whether a token is good depends on its issuer's keys, which are not here; 503 for one who does not wait.

    Await ``load`` and verify once more: then the keys are there, or this is raised again because they cannot be had now.
    """

    def __init__(self, load: Callable[[], Awaitable[None]], *, retry_after: int) -> None:
        super().__init__("The keys of this token's issuer cannot be had at present.", retry_after=retry_after)
        self.load = load


class InvalidApiKey(InvalidToken):
    """The presented API key proves nothing, here and now. The caller gets the same words for every ``reason``."""

    def __init__(self, reason: str) -> None:
        NotAuthenticated.__init__(self, "The API key is not valid.", challenge='Bearer error="invalid_token"')
        self.reason = reason


class ApiKeyNotLoaded(KeysNotLoaded):
    """Whether an API key is good has to be looked up; otherwise as ``KeysNotLoaded``."""

    def __init__(self, load: Callable[[], Awaitable[None]]) -> None:
        Unavailable.__init__(self, "This API key cannot be looked up at present.")
        self.load = load


class DecryptionFailed(GatehouseError):
    """Something encrypted cannot be read: none of our keys opens it, or somebody changed it. Never answered with garbage.

    The reason is for operators (log, command line); the caller of an endpoint gets a plain 500.
    """

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.args = (reason,)
