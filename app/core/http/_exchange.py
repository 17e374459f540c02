"""One request and its answer as the edge sees them: counts what comes in, completes what goes out."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import HTTPException
from starlette.types import Message, Receive, Scope, Send

from app.core.http._problem import Headers, instance_of, problem_response
from app.core.http._security_headers import Lines
from app.core.http._state import RequestState

_HTTP_1 = frozenset({"1.0", "1.1"})
_LINGER_BYTES = 4 * 1024 * 1024
_LINGER_S = 5.0


class BodyTooLargeError(HTTPException):
    """Raised out of ``receive`` when the body passes its limit.

    FastAPI turns every other exception from there into a 400; this one passes, so that whatever is inside
    sees a 413 too.
    """

    def __init__(self) -> None:
        super().__init__(status_code=413, detail="Content Too Large")


class BodyTooSlowError(HTTPException):
    """Raised out of ``receive`` when the client has kept us waiting for its body for too long."""

    def __init__(self) -> None:
        super().__init__(
            status_code=408,
            detail="The request's body did not arrive in time.",
            headers={"Connection": "close"},
        )


class BrokenResponseError(RuntimeError):
    """The application failed after its answer had begun.

    Tells the server to cut the connection, so that no client takes a part for the whole.
    """


class Exchange:
    """Mutable, one per request. ``on_end`` is called once: the last byte is out or can no longer come. ``lines``: header lines of every
    answer.
    """

    __slots__ = (
        "_found", "_limit", "_lines", "_on_end", "_patience_s", "_receive_next", "_received", "_send", "body_ended", "disconnected",
        "ended", "overrun", "receive", "scope", "size", "started", "state", "status",
    )  # fmt: skip

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        state: RequestState,
        found: dict[bytes, bytes],
        limit: int,
        patience_s: float,
        on_end: Callable[["Exchange"], None],
        lines: Lines = (),
    ) -> None:
        self.scope = scope
        self.state = state
        self.receive = receive
        self.status = 0
        self.size = 0
        self.started = False
        self.ended = False
        self.overrun = False
        self.disconnected = False
        self.body_ended = False
        self._found = found
        self._limit = limit
        self._patience_s = patience_s
        self._receive_next = receive
        self._received = 0
        self._send = send
        self._on_end = on_end
        self._lines = lines

    def expect_body(self) -> int | None:
        """Count the body if there can be one; returns its declared length in bytes.

        Without Content-Length and Transfer-Encoding an HTTP/1 request has none, and ``receive`` stays bare.
        """
        length = self._found.get(b"content-length", b"0")
        http_1 = self.scope.get("http_version", "1.1") in _HTTP_1
        if length == b"0" and http_1 and b"transfer-encoding" not in self._found:
            return None
        self.receive = self._receive_counted
        if length != b"0" and length.isdigit():
            # Twenty digits are too long for any limit, and int() refuses thousands of them.
            self.state.content_length = int(length[:20])
        return self.state.content_length

    async def _receive_counted(self) -> Message:
        """The request's next message; raises BodyTooLargeError past the limit as it is now, BodyTooSlowError."""
        limit = self.state.body_limit
        limit = self._limit if limit is None or limit > self._limit else limit
        declared = self.state.content_length
        if declared is not None and declared > limit:
            self.overrun = True
            raise BodyTooLargeError
        message = await (self._receive_next() if self.body_ended else self._receive_in_time())
        if message["type"] == "http.disconnect":
            self.disconnected = not self.ended
            return message
        self._received += len(message.get("body", b""))
        self.body_ended = not message.get("more_body", False)
        if self._received > limit:
            self.overrun = True
            raise BodyTooLargeError
        return message

    async def _receive_in_time(self) -> Message:
        """Wait for a part of the body. Only our waiting counts, whatever the application does between two parts."""
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            async with asyncio.timeout(self._patience_s):
                return await self._receive_next()
        except TimeoutError:
            raise BodyTooSlowError from None
        finally:
            self._patience_s -= clock() - started

    async def send(self, message: Message) -> None:
        """Pass one message on; the first gets the edge's headers, the last ends the exchange."""
        kind = message["type"]
        if kind == "http.response.start":
            if self.overrun:
                return  # Whatever the application makes of it, the answer is the edge's 413.
            self.started = True
            self.status = message["status"]
            state = self.state
            headers = [
                *message.get("headers", ()),
                *state.headers,
                (b"x-request-id", state.request_id.encode()),
                *self._lines,
            ]
            await self._send({**message, "headers": headers})
            return
        if not self.started:
            return
        if kind == "http.response.body":
            self.size += len(message.get("body", b""))
            await self._send(message)
            if not message.get("more_body", False):
                self.end()
            return
        await self._send(message)
        if kind == "http.response.pathsend":
            self.end()

    def end(self, status: int | None = None) -> None:
        """Report once. ``status`` overrides what was sent, for a client that did not get it."""
        if not self.ended:
            self.ended = True
            self.receive = self._receive_next  # Breaks the reference cycle of counted bodies.
            if status is not None:
                self.status = status
            self._on_end(self)

    async def answer(
        self,
        status: int,
        *,
        detail: str | None = None,
        type: str = "about:blank",  # noqa: A002 - the member's name in RFC 9457
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer with a problem document in the application's stead."""
        body, raw = self._problem(status, detail=detail, type=type, headers=headers)
        self.overrun = False
        await self.send({"type": "http.response.start", "status": status, "headers": raw})
        await self.send({"type": "http.response.body", "body": body})

    def _problem(self, status: int, **members: Any) -> tuple[bytes, Headers]:
        return problem_response(
            status, instance=instance_of(self.scope), request_id=self.state.request_id, **members
        )

    async def refuse_body(self) -> None:
        """Answer 413 and close.

        A server that closes while the client still sends makes the client's kernel throw the answer away, so
        the rest of the body is read and dropped for a while before the connection goes; a client that waits
        for 100-continue sends nothing that could be read.
        """
        body, raw = self._problem(413, detail="The request's body is longer than this endpoint takes.")
        self.overrun = False
        await self.send(
            {"type": "http.response.start", "status": 413, "headers": [*raw, (b"connection", b"close")]}
        )
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        if b"expect" not in self._found and not self.body_ended:
            await self._linger()
        await self.send({"type": "http.response.body", "body": b""})

    async def _linger(self) -> None:
        dropped = 0
        try:
            async with asyncio.timeout(_LINGER_S):
                while dropped < _LINGER_BYTES:
                    message = await self._receive_next()
                    dropped += len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return
        except TimeoutError:
            return
