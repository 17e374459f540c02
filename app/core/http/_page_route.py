"""Routes of pages: gated as all others, and forms must prove that they are ours."""

import hmac
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse

from app.core.errors import PermissionDenied
from app.core.http._bearer import bearer_token, presented
from app.core.http._gate import Ticket, current_ticket
from app.core.http._page_cookies import LOGIN_FORM, SESSION, csrf_token_of
from app.core.http._route import APIRouter, GatedRoute

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_FIELD = "csrf_token"
MENU = "__gatehouse_menu__"
_F = TypeVar("_F", bound=Callable[..., Any])


class ForgedForm(PermissionDenied):
    """The request does not come from a form that we gave to this browser: another site sent it, or the session has changed since."""

    def __init__(self) -> None:
        super().__init__(
            "This form does not belong to your session any more. Open the page again and send it once more."
        )


class MenuEntry(NamedTuple):
    """How the list of pages names one."""

    title: str
    text: str


def in_menu(title: str, text: str) -> Callable[[_F], _F]:
    """Put a page into the list at ``/ui``, for those who may open it. Stands under the route's decorators, beside the handler."""

    def mark(handler: _F) -> _F:
        setattr(handler, MENU, MenuEntry(title, text))
        return handler

    return mark


class PageRoute(GatedRoute):
    """A GatedRoute under ``/ui``. Every unsafe method needs the form's ``csrf_token``, whatever its handler does; the boot audit lets no
    other kind of route stand there, and this kind nowhere else.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            if request.method not in _SAFE:
                try:
                    await refuse_forgery(request)
                except ForgedForm:
                    await request.close()  # files that came along
                    raise
            return await handler(request)

        return guarded


class PageRouter(APIRouter):
    """The router of a feature's pages. They are in no OpenAPI document: programs have the API."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **{"route_class": PageRoute, "default_response_class": HTMLResponse, "include_in_schema": False, **options}
        )  # fmt: skip


async def refuse_forgery(request: Request) -> None:
    """Raises ForgedForm unless the request comes from a form of ours that this browser was given.

    Two checks that do not depend on each other: what the browser says of the sender (``Sec-Fetch-Site``, ``Origin``), and a token that
    only the holder of the cookie can know. A caller who was let in by a bearer token or an API key is no browser, and needs neither.
    """
    ticket = current_ticket()
    if ticket is None or _came_by_token(request, ticket):
        return
    if not _is_same_origin(request.headers):
        raise ForgedForm
    kind = LOGIN_FORM if ticket.config.security.anonymous else SESSION
    cookie = request.app.state.gatehouse.page_cookies.read(request.scope, kind)
    given = (await request.form()).getlist(CSRF_FIELD)
    if cookie is None or len(given) != 1 or not isinstance(given[0], str):
        raise ForgedForm
    if not hmac.compare_digest(csrf_token_of(cookie).encode(), given[0].encode("utf-8", "replace")):
        raise ForgedForm


def _came_by_token(request: Request, ticket: Ticket) -> bool:
    value, key = presented(request.scope["headers"])
    is_let_in = ticket.principal is not None and not ticket.config.security.anonymous
    return is_let_in and (key is not None or (value is not None and bearer_token(value) is not None))


def _is_same_origin(headers: Headers) -> bool:
    """By what the browser says of the sender, which no page can change: ``Sec-Fetch-Site`` if it is there, otherwise ``Origin`` (as Go's
    ``http.CrossOriginProtection``). A client that says nothing is judged by its token alone.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site == "same-origin"
    if origin is None:
        return True
    # The scheme is not compared: behind a proxy that ends TLS we do not know it.
    return _host_of(origin) == headers.get("host", "").lower()


def _host_of(origin: str) -> str | None:
    """Host and port of an origin; None for `null` and for what is no origin."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") and parts.netloc else None
