"""The ``Idempotency-Key`` header and what it stands for: the key's place in the store, and the fingerprint of the request."""

from collections.abc import Mapping
from hashlib import blake2b, sha256
from operator import itemgetter
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from app.core.http._answer import values_of
from app.core.policies import Caller, Claim, Idempotency, IdempotencyKeyInvalid, user_partition

_LONGEST = 255
_SPEC = "https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/"
Scope = Mapping[str, Any]


class IdempotencyKeys:
    """One endpoint's idempotency: makes the claim of a request.

    The key's place is the caller, the tenant he acts for, the route, the method and the key, so no caller meets another's; an API key's
    claims are its own.
    """

    def __init__(self, policy: str, config: Idempotency, lease_s: float) -> None:
        self._policy = policy
        self._methods = frozenset(config.methods)
        self._required = config.required
        self._lease_ms = int((config.lease or lease_s) * 1000)
        self._retention_ms = int(config.retention * 1000)
        self._rerun = config.expired_claim != "refuse"
        self._replay_cost = config.replay_cost

    def key_of(self, scope: Scope) -> str | None:
        """The request's key; None when it has none and needs none. Raises IdempotencyKeyInvalid (400)."""
        if scope["method"] not in self._methods:
            return None
        key = key_in(scope)
        if key is None and self._required:
            raise _invalid("This needs an Idempotency-Key header.")
        return key

    def claim(self, key: str, scope: Scope, template: str, body: bytes, caller: Caller) -> Claim:
        """What ADMIT is asked to claim for this request."""
        principal = caller.principal
        if principal is not None:
            who = f"{principal.api_key_id or ''}\0{principal.tenant_id or ''}"
        else:  # of one network; a client's own credentials, as OAuth2 sends them, keep clients apart
            names = b"authorization", b"x-api-key"
            who = b",".join([v for name in names for v in values_of(scope["headers"], name)]).decode(
                "latin-1"
            )
        place = digest("\0".join((scope["method"], template, who, key)).encode())
        return Claim(
            f"{{{user_partition(caller)}}}:v1:i:{self._policy}:{place}",
            fingerprint(scope, template, body),
            self._lease_ms,
            self._retention_ms,
            self._rerun,
            self._replay_cost,
        )


def key_in(scope: Scope) -> str | None:
    """The text of the request's key, without quotes and escapes; None when it has none. Raises IdempotencyKeyInvalid (400)."""
    lines = values_of(scope["headers"], b"idempotency-key")
    if len(lines) > 1:
        raise _invalid("More than one Idempotency-Key header.")
    return _parse(lines[0]) if lines else None


def _invalid(detail: str) -> IdempotencyKeyInvalid:
    return IdempotencyKeyInvalid(detail, headers={"Link": f'<{_SPEC}>; rel="describedby"'})


def _parse(value: bytes) -> str:
    """A String of RFC 8941 or a bare word, 1 to 255 visible ASCII characters; the same text is the same key in either form."""
    text = value.strip(b" \t").decode("latin-1")
    allowed = range(0x21, 0x7F)
    if text.startswith('"'):
        allowed = range(0x20, 0x7F)
        if len(text) < 2 or not text.endswith('"'):
            raise _invalid("The Idempotency-Key is not a well-formed string.")
        text = _unescape(text[1:-1])
    if not 1 <= len(text) <= _LONGEST or any(ord(char) not in allowed for char in text):
        raise _invalid(f"An Idempotency-Key has 1 to {_LONGEST} visible ASCII characters.")
    return text


def _unescape(text: str) -> str:
    parts, rest = [], iter(text)
    for char in rest:
        if char == '"':
            raise _invalid("The Idempotency-Key is not a well-formed string.")
        if char == "\\":
            char = next(rest, "")  # noqa: PLW2901 - the escaped one takes its place
            if char not in ('"', "\\"):
                raise _invalid("The Idempotency-Key is not a well-formed string.")
        parts.append(char)
    return "".join(parts)


def fingerprint(scope: Scope, template: str, body: bytes) -> str:
    """SHA-256 of method, route, path, sorted query, content type and the raw body; of a multipart body without its random boundary."""
    content_type = next(iter(values_of(scope["headers"], b"content-type")), b"")
    content_type, body = _without_boundary(content_type, body)
    query = sorted(
        parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True), key=itemgetter(0)
    )
    path = sorted((name, str(value)) for name, value in scope.get("path_params", {}).items())
    head = repr((scope["method"], template, path, query, content_type)).encode()
    return sha256(sha256(head).digest() + body).hexdigest()[:40]


def _without_boundary(content_type: bytes, body: bytes) -> tuple[bytes, bytes]:
    kind, _, parameters = content_type.partition(b";")
    if not kind.strip().lower().startswith(b"multipart/"):
        return content_type, body
    for parameter in parameters.split(b";"):
        name, _, value = parameter.strip().partition(b"=")
        boundary = value.strip().strip(b'"')
        if name.lower() == b"boundary" and boundary:
            return kind, body.replace(b"--" + boundary, b"--")
    return content_type, body


def digest(data: bytes) -> str:
    """A caller's text as it stands in a key."""
    return blake2b(data, digest_size=16).hexdigest()


async def read_body(receive: Receive) -> tuple[bytes, Receive]:
    """The whole body, and a ``receive`` that gives it again. Raises what ``receive`` raises: 413, 408; ClientDisconnect."""
    parts = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(parts)
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return body, again
