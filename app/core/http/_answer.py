"""Answers that are kept and given again: as bytes in the store, and from there to the client without FastAPI."""

from collections.abc import Container, Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import orjson
from starlette.responses import Response
from starlette.types import Scope, Send

from app.core.http._problem import problem_for
from app.core.policies import IdempotencyKeyInUse
from app.core.security import SealBroken, Sealer

Headers = Sequence[tuple[bytes, bytes]]

KEPT_HEADERS = frozenset(
    {
        b"cache-control", b"content-disposition", b"content-encoding", b"content-language", b"content-type", b"etag",
        b"link", b"location",
    }
)  # fmt: skip
"""Response headers that an idempotent replay repeats; an endpoint may name more."""

NEVER_KEPT = frozenset(
    {
        b"content-length", b"date", b"ratelimit", b"ratelimit-policy", b"retry-after", b"set-cookie", b"traceparent",
        b"tracestate", b"x-request-id",
    }
)  # fmt: skip
"""Response headers that belong to one answer or one caller alone."""


class Answer(NamedTuple):
    """An answer as it goes out. ``body`` is None when it was too long to keep."""

    status: int
    headers: Headers
    body: bytes | None

    async def send(self, scope: Scope, send: Send) -> None:
        """Send it. A body that was not kept is 409, with the location of what was made, if it had one."""
        if self.body is None:
            await self._refuse(scope, send)
            return
        bodiless = self.status in (204, 304) or self.status < 200
        headers = list(self.headers)
        if not bodiless:
            headers.append((b"content-length", b"%d" % len(self.body)))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        body = b"" if bodiless or scope["method"] == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body})

    async def _refuse(self, scope: Scope, send: Send) -> None:
        status, body, headers = problem_for(not_retained(self), scope)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def with_headers(self, *headers: tuple[bytes, bytes]) -> "Answer":
        """The same answer with more headers."""
        return self._replace(headers=[*self.headers, *headers])

    def header(self, name: bytes) -> bytes | None:
        """The first header of this (lower-case) name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def response(self) -> Response:
        """The same as a Starlette response."""
        response = Response(self.body or b"", status_code=self.status)
        lengths = [header for header in response.raw_headers if header[0] == b"content-length"]
        response.raw_headers = [*self.headers, *lengths]
        return response


def not_retained(answer: Answer) -> IdempotencyKeyInUse:
    """The error for a request that was done and whose answer cannot be given again; with the location of what was made, if it had one."""
    location = answer.header(b"location")
    return IdempotencyKeyInUse(
        "This request was done, but its answer was not kept.",
        headers={"Location": location.decode("latin-1")} if location is not None else None,
        extensions={"reason": "result_not_retained"},
    )


def body_of(response: Response) -> bytes | None:
    """The whole body of a response; None for one that is made while it is sent."""
    if hasattr(response, "body_iterator") or not hasattr(response, "body"):
        return None
    return bytes(response.body)


def answer_of(response: Response, *, keep: Container[bytes] | None, most: int) -> Answer:
    """What of a response can be given again: headers that are in ``keep`` (None: all) and may ever be kept, a body of ``most`` bytes."""
    headers = [
        (name, value)
        for name, value in response.raw_headers
        if name not in NEVER_KEPT and (keep is None or name in keep)
    ]
    body = body_of(response)
    return Answer(response.status_code, headers, body if body is not None and len(body) <= most else None)


def pack(answer: Answer) -> bytes:
    """An answer as bytes: a line of JSON, then the body as it is."""
    head = (
        answer.status,
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers],
        answer.body is not None,
    )
    return orjson.dumps(head) + b"\n" + (answer.body or b"")


def unpack(blob: bytes) -> Answer:
    """The answer again. Raises ValueError for anything that ``pack`` did not make."""
    head, _, body = blob.partition(b"\n")
    try:
        status, headers, has_body = orjson.loads(head)
        kept = tuple([(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers])
    except (AttributeError, TypeError) as error:
        raise ValueError("not an answer that was kept") from error
    if type(status) is not int or not 200 <= status < 600:
        raise ValueError("not the status of an answer that was kept")
    return Answer(status, kept, body if has_body else None)


def replay_of(blob: bytes, key: str, sealer: Sealer | None) -> Answer:
    """A kept result as its replay. Without a body when it cannot be read, or the key that it was sealed with is gone: the request was
    done all the same.
    """
    try:
        answer = unpack(blob if sealer is None else sealer.open(blob, key.encode()))
    except (SealBroken, ValueError):
        return Answer(409, [], None)
    return answer.with_headers((b"idempotent-replayed", b"true"))


def etag_of(body: bytes) -> bytes:
    """A strong validator of exactly these bytes (RFC 9110 section 8.8.3)."""
    return b'"%s"' % blake2b(body, digest_size=16).hexdigest().encode()


def matches(if_none_match: Iterable[bytes], etag: bytes) -> bool:
    """Whether If-None-Match names this validator (weak comparison, RFC 9110 section 13.1.2)."""
    wanted = etag.removeprefix(b"W/")
    return any(
        tag.strip() == b"*" or tag.strip().removeprefix(b"W/") == wanted
        for line in if_none_match
        for tag in line.split(b",")
    )


def values_of(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Every value of a header, in order."""
    return [value for key, value in headers if key == name]


def not_modified(answer: Answer) -> Answer:
    """304 with the headers that RFC 9110 section 15.4.5 asks for."""
    kept = (
        b"cache-control",
        b"content-location",
        b"date",
        b"etag",
        b"expires",
        b"vary",
        b"age",
        b"cache-status",
    )
    return Answer(304, [header for header in answer.headers if header[0] in kept], b"")


def conditional(answer: Answer, asked: Iterable[tuple[bytes, bytes]]) -> Answer:
    """The answer, or 304 for a caller whose request headers (``asked``) say that he has it already."""
    wanted = values_of(asked, b"if-none-match")
    if wanted and answer.status == 200:
        etag = answer.header(b"etag")
        if etag is not None and matches(wanted, etag):
            return not_modified(answer)
    return answer
