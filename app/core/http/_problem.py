"""Errors as RFC 9457 problem documents, for raw ASGI and for FastAPI's exception handlers.

A document never echoes what the caller sent except its path, and never carries another library's text.
"""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, ResponseValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope, Send

from app.core.context import current_context
from app.core.errors import ConfigurationError, GatehouseError, Unprocessable

CONTENT_TYPE = b"application/problem+json"
REDUCED_CAPACITY = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"

_MEMBERS = frozenset({"type", "title", "status", "detail", "instance", "request_id"})
_TITLES = {413: "Content Too Large", 422: "Unprocessable Content", 499: "Client Closed Request"}
_MAX_INSTANCE = 1024
_MAX_ERRORS = 50
_MAX_LOC_TEXT = 100

Headers = list[tuple[bytes, bytes]]
Translate = Callable[[Exception], GatehouseError | None]

_log = structlog.get_logger(__name__)


class Problem(BaseModel):
    """A problem document, as OpenAPI shows it. Policies add members of their own."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(default="about:blank", description="Identifies the kind of problem")
    title: str = Field(description="What kind of problem this is, the same every time")
    status: int = Field(description="The HTTP status")
    detail: str | None = Field(default=None, description="What went wrong this time")
    instance: str | None = Field(default=None, description="The path that was asked for")
    request_id: str | None = Field(
        default=None, description="Names this request in the logs; also in X-Request-ID"
    )


def title_of(status: int) -> str:
    """The name of a status in RFC 9110, whatever this Python version calls it."""
    if (title := _TITLES.get(status)) is not None:
        return title
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _bare_titles(status: int) -> tuple[str, ...]:
    """What frameworks put into ``detail`` when they have nothing to say."""
    try:
        return title_of(status), HTTPStatus(status).phrase
    except ValueError:
        return (title_of(status),)


def problem_response(
    status: int,
    *,
    title: str | None = None,
    detail: str | None = None,
    type: str = "about:blank",  # noqa: A002 - the member's name in RFC 9457
    instance: str | None = None,
    request_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> tuple[bytes, Headers]:
    """The body and the raw headers of a problem answer, ready for ``http.response.start`` or a ``Response``.

    ``extensions`` become further members and cannot replace the standard ones. The answer is marked
    ``no-store``: caches may keep a 404 otherwise. X-Request-ID is not among the headers; the edge adds it to
    every answer.
    """
    document: dict[str, Any] = {"type": type, "title": title or title_of(status), "status": status}
    optional = (("detail", detail), ("instance", instance), ("request_id", request_id))
    document.update((name, value) for name, value in optional if value is not None)
    if extensions:
        document.update((name, value) for name, value in extensions.items() if name not in _MEMBERS)
    body = _dumps(document)
    raw: Headers = [
        (b"content-type", CONTENT_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if headers:
        raw += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return body, raw


def _dumps(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # A lone surrogate or a huge integer that came in through JSON: the slow encoder takes them.
        return json.dumps(document, default=str).encode("ascii")


def instance_of(scope: Scope) -> str:
    """The request's path as a URI reference, without its query (which may hold secrets)."""
    raw = scope.get("raw_path")
    path = raw.decode("latin-1") if raw else quote(scope["path"])
    return path[:_MAX_INSTANCE]


def problem_for(error: GatehouseError, scope: Scope) -> tuple[int, bytes, Headers]:
    """Status, body and headers of one of our errors, for an answer to the request of ``scope``."""
    body, headers = problem_response(
        error.status,
        title=error.title,
        # What is wrong with the program is for its log.
        detail=None if isinstance(error, ConfigurationError) else error.detail,
        type=error.type,
        instance=instance_of(scope),
        request_id=current_context().request_id,
        headers=error.headers,
        extensions=error.extensions,
    )
    return error.status, body, headers


async def send_problem(scope: Scope, send: Send, error: GatehouseError) -> None:
    """Answer a request with one of our errors without a Response object. Nothing may have been sent yet."""
    status, body, headers = problem_for(error, scope)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class ProblemResponse(Response):
    """A Starlette response made of ``problem_response``'s parts."""

    def __init__(self, status: int, body: bytes, headers: Headers) -> None:
        super().__init__(body, status_code=status)
        self.raw_headers = headers


def install_problem_handlers(
    app: FastAPI, *, foreign: tuple[type[Exception], ...] = (), translate: Translate | None = None
) -> None:
    """Make every error that the application raises a problem document.

    Exceptions of the classes in ``foreign`` go through ``translate``; those for which it returns None, and
    all other unexpected exceptions, stay unhandled so that the edge logs them and answers 500.
    """

    async def on_foreign(request: Request, exc: Exception) -> Response:
        error = translate(exc) if translate is not None else None
        if error is None:
            raise exc
        error.__cause__ = error.__cause__ or exc
        return await _on_error(request, error)

    app.add_exception_handler(GatehouseError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(ResponseValidationError, _on_invalid_response)
    for kind in foreign:
        app.add_exception_handler(kind, on_foreign)


async def response_to(request: Request, error: Exception) -> Response:
    """The answer that the application gives to an exception of a handler: what its exception handlers make of it, otherwise the edge's
    bare 500.
    """
    handlers = request.app.exception_handlers
    handler = next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)
    if handler is not None:
        try:
            answer: Response = await handler(request, error)
        except Exception as unhandled:
            if unhandled is not error:
                raise
        else:
            return answer
    body, headers = problem_response(
        500, instance=instance_of(request.scope), request_id=current_context().request_id
    )
    return ProblemResponse(500, body, headers)


async def _on_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, GatehouseError)  # noqa: S101 - by registration
    if exc.status >= 500:
        _log_server_error(exc)
    return ProblemResponse(*problem_for(exc, request.scope))


def _log_server_error(exc: GatehouseError) -> None:
    """A plain 500 is our fault and wants its traceback; an outage wants its cause, if there is one."""
    kind = type(exc).__name__
    if exc.status == 500:
        _log.error("http.server_error", error=kind, exc_info=exc)
    else:
        cause = type(exc.__cause__).__name__ if exc.__cause__ is not None else None
        _log.warning("http.unavailable", error=kind, status=exc.status, cause=cause)


async def _on_http_exception(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - by registration
    if exc.status_code in (204, 304) or exc.status_code < 200:
        return Response(status_code=exc.status_code, headers=exc.headers)
    extensions: dict[str, Any] = {}
    content: Any = exc.detail  # FastAPI's own class allows any JSON value here.
    if isinstance(content, Mapping):
        extensions = {str(name): value for name, value in content.items()}
        content = extensions.pop("detail", None)
    elif not isinstance(content, str):
        extensions = {"errors": content}
        content = None
    body, headers = problem_response(
        exc.status_code,
        detail=None if content is None or content in _bare_titles(exc.status_code) else str(content),
        instance=instance_of(request.scope),
        request_id=current_context().request_id,
        headers=exc.headers,
        extensions=extensions,
    )
    return ProblemResponse(exc.status_code, body, headers)


async def _on_invalid_request(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101 - by registration
    errors = exc.errors()
    error = Unprocessable(
        "The request does not match what this endpoint takes.",
        extensions={"errors": [_describe(item) for item in errors[:_MAX_ERRORS]]},
    )
    return ProblemResponse(*problem_for(error, request.scope))


def _describe(error: Mapping[str, Any]) -> dict[str, Any]:
    """Where and what, but not the value: the caller's input may be a password, and errors end up in logs."""
    loc = [part[:_MAX_LOC_TEXT] if isinstance(part, str) else part for part in error["loc"]]
    return {"loc": loc, "msg": error["msg"], "type": error["type"]}


async def _on_invalid_response(request: Request, exc: Exception) -> Response:
    """Our bug. The exception's text quotes the value that was to be sent: neither show nor log it."""
    assert isinstance(exc, ResponseValidationError)  # noqa: S101 - by registration
    errors = [{"loc": item["loc"], "type": item["type"]} for item in exc.errors()[:_MAX_ERRORS]]
    _log.error("http.response_invalid", errors=errors)
    return ProblemResponse(*problem_for(GatehouseError(), request.scope))
