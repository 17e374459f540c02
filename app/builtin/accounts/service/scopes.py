"""The ``scope`` of a request for a token."""

from app.core.errors import BadRequest
from app.core.security import parse_scope


class InvalidScope(BadRequest):
    """What was asked for is no list of scopes, or holds none that may be given (RFC 6749 section 5.2)."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, extensions={"error": "invalid_scope"})


def asked_scopes(scope: str) -> frozenset[str]:
    """The scopes of a request's ``scope``; none when it is empty. Raises ``InvalidScope``."""
    try:
        return parse_scope(scope)
    except ValueError as exc:
        raise InvalidScope(
            "This is not a list of scopes; an example is `read:records write:records`."
        ) from exc
