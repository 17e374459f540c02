"""An exchange under ``/ui``: its answers are for a person in a browser."""

from urllib.parse import quote

import orjson
from starlette.types import Message

from app.core.http._bearer import is_by_program
from app.core.http._exchange import Exchange
from app.core.http._page_next import next_page
from app.core.http._pages import error_page
from app.core.http._problem import CONTENT_TYPE
from app.core.http._security_headers import PAGES, SecurityHeaders

LOGIN = f"{PAGES}/login"
_STEP_UP = b"insufficient_user_authentication"  # RFC 9470: he is known, and must prove it once more
_REPLACED = frozenset({b"content-type", b"content-length", b"cache-control", b"www-authenticate"})


class PageExchange(Exchange):
    """Turns problem documents into pages, and 401 into the way to the sign-in form; gives every answer what pages are protected by.

    A request with ``Authorization`` or ``X-API-Key`` is a program's: it gets the documents themselves.
    """

    __slots__ = ("_held", "security")

    security: SecurityHeaders
    _held: Message | None

    def protect(self, security: SecurityHeaders) -> "PageExchange":
        """Take what the answers are to carry."""
        self.security = security
        self._held = None
        return self

    async def send(self, message: Message) -> None:
        """As ``Exchange``; a problem's start waits for its body, which is replaced."""
        if message["type"] == "http.response.start":
            if self._is_for_a_person() and (b"content-type", CONTENT_TYPE) in message["headers"]:
                self._held = message
                return
            await self._start(message)
        elif self._held is not None:
            held, self._held = self._held, None
            start, body = self._page(held, message.get("body", b""))
            await self._start(start)
            await super().send({**message, "body": body})
        else:
            await super().send(message)

    async def _start(self, message: Message) -> None:
        headers = list(message.get("headers", ()))
        names = frozenset(name.lower() for name, _ in headers)
        await super().send({**message, "headers": [*headers, *self.security.of_page(names)]})

    def _is_for_a_person(self) -> bool:
        return not is_by_program(self.scope["headers"])

    def _page(self, start: Message, document: bytes) -> tuple[Message, bytes]:
        status, body = start["status"], b""
        headers = [line for line in start["headers"] if line[0] not in _REPLACED]
        if status == 401:
            status = 303
            headers.append((b"location", self._way_in(is_again=_is_step_up(start))))
        else:
            body = error_page(orjson.loads(document))
            headers.append((b"content-type", b"text/html; charset=utf-8"))
        headers.append((b"content-length", b"%d" % len(body)))
        return {**start, "status": status, "headers": headers}, body

    def _way_in(self, *, is_again: bool) -> bytes:
        """The form, and back to where he wanted to go if that can be asked for again."""
        scope = self.scope
        raw = scope.get("raw_path") or quote(scope["path"]).encode()
        wanted = raw.decode("latin-1")
        if query := scope.get("query_string"):
            wanted += "?" + query.decode("latin-1")
        parts = []
        if scope["method"] in ("GET", "HEAD") and next_page(wanted) == wanted:
            parts.append(f"next={quote(wanted, safe='/')}")
        if is_again:
            parts.append("again=true")
        return "?".join([LOGIN, "&".join(parts)] if parts else [LOGIN]).encode()


def _is_step_up(start: Message) -> bool:
    return any(name == b"www-authenticate" and _STEP_UP in value for name, value in start["headers"])
