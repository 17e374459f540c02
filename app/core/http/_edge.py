"""The outermost layer of every request, in one ASGI class.

It names the request, finds the client's address, caps the body, refuses work that the process cannot take,
completes the answer's headers, turns what nobody caught into a 500 problem, and reports the request when its
last byte is out.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable
from typing import Any

import structlog
import uuid_utils
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.context import RequestContext, reset_context, set_context
from app.core.http._client_address import AddressResolver
from app.core.http._current import reset_scope, set_scope
from app.core.http._exchange import BrokenResponseError, Exchange
from app.core.http._page_exchange import PageExchange
from app.core.http._problem import REDUCED_CAPACITY
from app.core.http._security_headers import SecurityHeaders, is_page
from app.core.http._state import SCOPE_KEY, RequestState
from app.core.http._traffic import TrafficControl
from app.core.observability import RequestRecord

CLIENT_CLOSED_REQUEST = 499
"""Status in logs and metrics when the client went before its answer; never sent."""

UNMATCHED = "(unmatched)"
"""The route of requests that match none: one name for all, so that scanners cannot fill the metrics."""

_WANTED = frozenset(
    {b"content-length", b"expect", b"traceparent", b"transfer-encoding", b"x-forwarded-for", b"x-request-id"}
)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
).fullmatch
_METHODS = frozenset(
    {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "QUERY"}
)

_log = structlog.get_logger(__name__)


class AwaitedWasCancelledError(RuntimeError):
    """A handler waited for work that somebody else cancelled. Its request was not: it is answered."""


class EdgeMiddleware:
    """Pure ASGI; add it as the outermost user middleware.

    X-Request-ID is taken from the caller only when a trusted proxy connects (a stranger could otherwise make
    its requests look like another's in the logs) and is 1 to 128 of ``A-Za-z0-9._-``; any other request gets
    a fresh time-ordered id. A valid traceparent is taken from anybody. ``max_body_bytes`` is the largest body
    of any endpoint; the gate may set ``state.body_limit`` lower. A client that lets us wait for its body for
    more than ``body_timeout_s`` seconds in all gets 408 and the connection is closed: until then it holds one
    of the places that ``traffic`` counts. ``report`` gets each finished request and
    must not raise. A caller that left early is reported with status 499, an exception as 500 with its
    traceback in the log. ``security`` are the header lines that browsers are told. WebSockets only get the request's state and context.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        traffic: TrafficControl,
        addresses: AddressResolver | None = None,
        max_body_bytes: int = 1_048_576,
        body_timeout_s: float = 30.0,
        report: Callable[[RequestRecord], None] | None = None,
        security: SecurityHeaders | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        if max_body_bytes < 0:
            raise ValueError("max_body_bytes must be 0 or more")
        self.app = app
        self._traffic = traffic
        self._addresses = addresses or AddressResolver()
        self._max_body_bytes = max_body_bytes
        self._body_timeout_s = body_timeout_s
        self._report = report
        self._monotonic = monotonic
        self._wall = wall
        self._security = security or SecurityHeaders()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self.app(scope, receive, send)
            return
        found = {name: value for name, value in scope["headers"] if name in _WANTED}
        state = self._open(scope, found)
        token = set_context(
            # By position: keywords cost a tenth more, and this is done for every request.
            RequestContext(state.request_id, state.client_ip, None, None, None, None, None, state.traceparent)
        )
        scope_token = set_scope(scope)
        try:
            if kind == "http":
                await self._http(self._exchange(scope, receive, send, state, found))
            elif self._traffic.is_open:
                await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1013})
        finally:
            reset_scope(scope_token)
            reset_context(token)

    def _exchange(
        self, scope: Scope, receive: Receive, send: Send, state: RequestState, found: dict[bytes, bytes]
    ) -> Exchange:
        path = scope["path"]
        if is_page(path):
            page = PageExchange(
                scope, receive, send, state=state, found=found, limit=self._max_body_bytes,
                patience_s=self._body_timeout_s, on_end=self._ended,
            )  # fmt: skip
            return page.protect(self._security)
        return Exchange(
            scope, receive, send, state=state, found=found, limit=self._max_body_bytes,
            patience_s=self._body_timeout_s, on_end=self._ended, lines=self._security.of(path),
        )  # fmt: skip

    def _open(self, scope: Scope, found: dict[bytes, bytes]) -> RequestState:
        """Make the request's state from its first line and headers."""
        peer, trusted = self._addresses.peer(scope.get("client"))
        request_id = None
        if trusted:
            if b"x-forwarded-for" in found:
                lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
                peer = self._addresses.behind(peer, lines)
            request_id = _sane_request_id(found.get(b"x-request-id"))
        traceparent = found.get(b"traceparent")
        if traceparent is not None and not _TRACEPARENT(traceparent):
            traceparent = None
        state = RequestState(
            request_id or str(uuid_utils.uuid7()),
            peer,
            self._monotonic(),
            traceparent.decode() if traceparent else None,
        )
        scope[SCOPE_KEY] = state
        return state

    async def _http(self, exchange: Exchange) -> None:
        traffic = self._traffic
        if not traffic.is_open or traffic.in_flight >= traffic.max_in_flight:
            reason = traffic.refusal(exchange.scope["path"])
            if reason is not None:
                await self._shed(exchange, reason)
                return
        traffic.in_flight += 1
        try:
            await self._run(exchange)
        except Exception as exc:  # noqa: BLE001 - the outermost frame of a request
            await self._fail(exchange, exc)
        except BaseException as exc:
            if _is_stray(exc):
                await self._fail(exchange, AwaitedWasCancelledError().with_traceback(exc.__traceback__))
                return
            exchange.end(CLIENT_CLOSED_REQUEST)
            raise
        finally:
            traffic.in_flight -= 1
            if not exchange.ended:
                # Returned without finishing its answer: the client went, and nothing is left to be told.
                exchange.end(CLIENT_CLOSED_REQUEST)

    async def _run(self, exchange: Exchange) -> None:
        declared = exchange.expect_body()
        if declared is not None and declared > self._max_body_bytes:
            await exchange.refuse_body()
            return
        await self._traffic.turn()
        await self.app(exchange.scope, exchange.receive, exchange.send)
        if exchange.started:
            return
        if exchange.overrun:
            await exchange.refuse_body()
        elif not exchange.disconnected:
            _log.error("http.no_answer", policy=exchange.state.gate)
            await exchange.answer(500)

    async def _shed(self, exchange: Exchange, reason: str) -> None:
        self._traffic.shed += 1
        headers = {"Retry-After": str(random.randint(1, 3))}  # noqa: S311 - spreads the callers out, no secret
        if reason != "full":
            headers["Connection"] = "close"
        exchange.state.outcome = "shed"
        await exchange.answer(503, detail=f"The service is {reason}.", type=REDUCED_CAPACITY, headers=headers)

    async def _fail(self, exchange: Exchange, exc: Exception) -> None:
        """Answer what nobody caught, or cut the connection when the answer had begun."""
        if exchange.overrun and not exchange.started:
            await exchange.refuse_body()
            return
        if isinstance(exc, ClientDisconnect):
            exchange.end(CLIENT_CLOSED_REQUEST)
            return
        principal = exchange.state.principal
        _log.error(
            "http.unexpected_error",
            error=type(exc).__name__,
            policy=exchange.state.gate,
            principal=principal.id if principal is not None else None,
            exc_info=exc,
        )
        if not exchange.started:
            await exchange.answer(500)
        elif not exchange.ended:
            exchange.end(500)
            # The traceback is logged above, with the request's id; the server only has to cut.
            raise BrokenResponseError("the application failed after its answer had begun") from None

    def _ended(self, exchange: Exchange) -> None:
        if self._report is None:
            return
        duration_s = self._monotonic() - exchange.state.started
        status = (
            CLIENT_CLOSED_REQUEST if exchange.disconnected and not exchange.body_ended else exchange.status
        )
        method = exchange.scope["method"]
        if method not in _METHODS:
            method = "OTHER"
        state = exchange.state
        state.route = route = route_template(exchange.scope)
        record = RequestRecord(
            self._wall(),
            method,
            route,
            status,
            duration_s,
            exchange.size,
            state.request_id,
            state.client_ip,
            state.principal.id if state.principal is not None else None,
            state.gate,
            state.outcome,
            state.is_logged,
        )
        self._report(record)


def _is_stray(exc: BaseException) -> bool:
    """Whether this is a cancellation and nobody has cancelled the request: the server would answer it in its own words."""
    task = asyncio.current_task()
    return isinstance(exc, asyncio.CancelledError) and task is not None and not task.cancelling()


def _sane_request_id(value: bytes | None) -> str | None:
    """An id from a proxy, unless its form is wrong or it looks like a token put into the wrong field."""
    if value is None or not _REQUEST_ID(value) or value.startswith(b"eyJ"):
        return None
    return value.decode()


def route_template(scope: Scope) -> str:
    """The matched route's path with parameters unfilled, include prefixes before it, or ``(unmatched)``."""
    fastapi: dict[str, Any] = scope.get("fastapi") or {}
    route = fastapi.get("effective_route_context") or scope.get("route")
    path = getattr(route, "path", None)
    if path is None:
        return UNMATCHED
    return str(path)
