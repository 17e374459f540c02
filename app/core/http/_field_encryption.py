"""Named fields of JSON bodies: tokens outside, what they say inside (``JobConfig.encryption=Encryption(...)``).

A request is opened after the gate has admitted it and before FastAPI reads it; an answer is closed before anything of it is kept.
"""

import json
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from fastapi import Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.core.errors import BadRequest, ConfigurationError, Unprocessable
from app.core.http._answer import body_of
from app.core.policies import Encryption
from app.core.security import DataEncryptor, DecryptionFailed

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Act = Callable[[Any], Any]

_MOST_TOKENS = 1000
"""In one request: a token costs some thirty microseconds, and the event loop waits for them."""


class _Field(NamedTuple):
    path: str
    parts: tuple[str, ...]
    encryptor: DataEncryptor


class FieldEncryption:
    """Decrypts named fields of one endpoint's requests and encrypts those of its answers; made when the endpoint is bound.

    Requests: Unprocessable (422) names a field that is no token of ours, and is raised for more than 1,000 of them and for a body that
    is nested too deeply; BadRequest for one that did not arrive. Answers: ConfigurationError (500) for one that cannot be encrypted (a
    stream, a file, a compressed one). A value takes some thirty microseconds of the event loop: not for large documents.
    """

    def __init__(self, fields: Encryption, encryptor: DataEncryptor) -> None:
        self._request = [_field(path, encryptor) for path in fields.request]
        self._response = [_field(path, encryptor) for path in fields.response]

    def around(self, handler: Handler) -> Handler:
        """``handler``, which sees requests decrypted and whose answers leave encrypted."""

        async def run(request: Request) -> Response:
            if self._request:
                request = await self._opened(request)
            response = await handler(request)
            if self._response:
                self._close(response)
            return response

        return run

    async def _opened(self, request: Request) -> Request:
        try:
            body = await request.body()
        except ClientDisconnect as gone:
            raise BadRequest("The request's body did not arrive.") from gone
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return _with_body(request, body)  # FastAPI says what is wrong with it
        opening = _Opening()
        try:
            for field in self._request:
                document = _changed(document, field.parts, opening.of(field))
        except RecursionError as error:
            raise Unprocessable("The request's body is nested too deeply.") from error
        return _with_body(request, json.dumps(document).encode())

    def _close(self, response: Response) -> None:
        body = body_of(response)
        if body is None:
            raise ConfigurationError(
                "An endpoint that encrypts fields must return whole answers, no streams or files"
            )
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            return
        if "content-encoding" in response.headers:
            raise ConfigurationError("An endpoint that encrypts fields must not compress its answers")
        if not body:
            return
        document = json.loads(body)
        for field in self._response:
            document = _changed(document, field.parts, _closer(field))
        response.body = json.dumps(document, separators=(",", ":")).encode()
        response.headers["content-length"] = str(len(response.body))


class _Opening:
    """Of one request's tokens; raises Unprocessable that names the field."""

    def __init__(self) -> None:
        self._left = _MOST_TOKENS

    def of(self, field: _Field) -> Act:
        def act(value: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise Unprocessable(f"The request has more than {_MOST_TOKENS} encrypted values.")
            try:
                if isinstance(value, str):
                    return json.loads(field.encryptor.decrypt(value))
            except (DecryptionFailed, ValueError) as failure:
                raise _no_token(field) from failure
            raise _no_token(field)

        return act


def _closer(field: _Field) -> Act:
    return lambda value: field.encryptor.encrypt(json.dumps(value))


def _no_token(field: _Field) -> Unprocessable:
    problem = {
        "loc": ["body", *field.parts],
        "msg": "is not encrypted by this service",
        "type": "not_encrypted",
    }
    return Unprocessable(
        f"The field {field.path} must be sent as this service answered it: encrypted.",
        extensions={"errors": [problem]},
    )


def _field(path: str, encryptor: DataEncryptor) -> _Field:
    parts = tuple(path.split("."))
    return _Field(path, parts, encryptor.for_purpose(f"field {parts[-1]}"))


def _changed(value: Any, parts: tuple[str, ...], act: Act) -> Any:
    """``value`` with ``act`` done to what is at its path; null and absent stay so."""
    if not parts:
        return None if value is None else act(value)
    if isinstance(value, list):
        return [_changed(each, parts, act) for each in value]
    if isinstance(value, dict) and parts[0] in value:
        return {**value, parts[0]: _changed(value[parts[0]], parts[1:], act)}
    return value


def _with_body(request: Request, body: bytes) -> Request:
    """The same request, whose body is read from here."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await request.receive()

    return Request(request.scope, receive)
