"""The one place that reads ``Authorization``."""

from collections.abc import Iterable

from app.core.errors import BadRequest


def authorization(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The field's value, or None when there is none.

    Raises BadRequest for two of them: whoever stands in front of us may have looked at the other one.
    """
    found = None
    for name, value in headers:
        if name == b"authorization":
            if found is not None:
                raise BadRequest("More than one Authorization header.")
            found = value
    return found


def bearer_token(value: bytes) -> str | None:
    """The token of a Bearer credential (RFC 6750), None for another scheme. It may hold anything: verify it."""
    scheme, _, token = value.partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else None
