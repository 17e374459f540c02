"""The routes as FastAPI asks them, one after the other, with the routers that it includes taken apart.

The one place that reads FastAPI's own names for this. A release without one of them raises AttributeError here, and nothing is indexed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import fastapi.routing
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute, compile_path
from starlette.types import Scope

_HTTP = (Route.matches, APIRoute.matches)
_WEBSOCKET = (WebSocketRoute.matches, APIWebSocketRoute.matches)


class Names(NamedTuple):
    """What FastAPI keeps to itself and a route that is found without it has to know."""

    included: type[Any]
    path_of: Callable[[Scope], str]
    selected: Callable[..., None]
    scope: str
    context_key: str
    router_key: str
    limits_key: str

    @classmethod
    def read(cls) -> "Names":
        """Raises AttributeError if this release has another one."""
        own: Any = fastapi.routing
        return cls(
            own._IncludedRouter,  # noqa: SLF001 - there is no public way
            own.get_route_path,
            own._route_selected,  # noqa: SLF001
            own._FASTAPI_SCOPE_KEY,  # noqa: SLF001
            own._FASTAPI_EFFECTIVE_ROUTE_CONTEXT_KEY,  # noqa: SLF001
            own._FASTAPI_INCLUDED_ROUTER_KEY,  # noqa: SLF001
            own._FASTAPI_FORM_LIMITS_KEY,  # noqa: SLF001
        )


class Leaf(NamedTuple):
    """One route where it is asked. ``route`` is asked, ``context`` has its path, methods and endpoint as they are served here.

    fastapi: what FastAPI leaves in its part of the scope when it chooses this one; None where it does not even make that part.
    limits: of forms, by the routers around it.
    """

    route: BaseRoute
    context: Any
    fastapi: Mapping[str, Any] | None = None
    limits: Mapping[str, Any] | None = None

    @property
    def is_for_websockets(self) -> bool:
        """It never takes an HTTP request."""
        return type(self.route).matches in _WEBSOCKET

    def template(self) -> str | None:
        """The path template that decides alone whether it may match; None when its class decides in a way of its own."""
        matches = type(self.route).matches
        if matches in _HTTP:
            path: str = self.context.path
        elif matches is Mount.matches:
            path = self.context.path + "/{path:path}"
        else:
            return None
        if not path.startswith("/") or compile_path(path)[0] != self.context.path_regex:
            return None  # somebody has put another pattern there
        return path


def leaves(routes: Iterable[BaseRoute], names: Names) -> Iterator[Leaf]:
    """In FastAPI's order. A router that matches or handles in a way of its own is one leaf, without a template."""
    inside: Mapping[str, Any] | None = None
    for route in routes:
        if isinstance(route, names.included):
            inside = {}
            yield from _included(route, names, {})
        else:
            yield Leaf(route, route, inside)


def _included(branch: Any, names: Names, outer: Mapping[str, Any]) -> Iterator[Leaf]:
    router = type(branch.original_router)
    if (
        router.matches is not fastapi.routing.APIRouter.matches
        or router.handle is not fastapi.routing.APIRouter.handle
    ):
        yield Leaf(branch, branch)
        return
    limits = {**outer, **branch.include_context.form_limits}
    for found in branch.effective_candidates():
        if isinstance(found, names.included):
            yield from _included(found, names, limits)
            continue
        is_api = isinstance(found.original_route, APIRoute)
        asked = found.original_route if is_api else found.starlette_route or found.original_route
        part = {names.router_key: branch, names.context_key: found}
        yield Leaf(asked, found if is_api else asked, part, limits or None)
