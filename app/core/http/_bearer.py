"""The one place that reads ``Authorization`` and ``X-API-Key``."""

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


def presented(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes | None, bytes | None]:
    """What stands in ``Authorization`` and in ``X-API-Key``. Raises BadRequest for two of either."""
    value = key = None
    for name, field in headers:
        if name == b"authorization":
            if value is not None:
                raise BadRequest("More than one Authorization header.")
            value = field
        elif name == b"x-api-key":
            if key is not None:
                raise BadRequest("More than one X-API-Key header.")
            key = field
    return value, key


def is_by_program(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether either of them is there, which browsers do not send by themselves: what the request's cookie says does not count."""
    return any(name in (b"authorization", b"x-api-key") for name, _ in headers)


def bearer_token(value: bytes) -> str | None:
    """The token of a Bearer credential (RFC 6750), None for another scheme. It may hold anything: verify it."""
    scheme, _, token = value.partition(b" ")
    return token.strip().decode("latin-1") if scheme.lower() == b"bearer" else None
