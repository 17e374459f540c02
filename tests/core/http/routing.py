"""Routes that only tell that they were chosen, and FastAPI's routing asked about them, with an index in front or without."""

import re
from collections.abc import MutableMapping, Sequence
from typing import Any, NamedTuple

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from app.core.http import GatedRoute
from app.core.http._route_index import RouteIndex, indexed, unindexed

SAMPLES = {"int": "7", "path": "a/b", "uuid": "00000000-0000-7000-8000-00000000000a", "float": "1.5"}


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """The end of every request here: 405 where the route does not take the method, as an APIRoute would."""
    methods = getattr(scope.get("route"), "methods", None)
    status = 405 if methods and scope["method"] not in methods else 200
    await PlainTextResponse("", status)(scope, receive, send)


class Gated(GatedRoute):
    """One that the index may choose."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await tell(scope, receive, send)


class Plain(APIRoute):
    """One of FastAPI's own."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await tell(scope, receive, send)


def routed(*paths: str, router: APIRouter | None = None) -> FastAPI:
    """An application with these gated routes, each handler named after its path; on a router that is included if one is given."""
    app = FastAPI(redirect_slashes=False, openapi_url=None)
    add(app.router if router is None else router, *paths)
    if router is not None:
        app.include_router(router)
    return app


def add(router: APIRouter, *paths: str, route_class: type[APIRoute] = Gated) -> None:
    """These routes, each handler named after its path."""
    for path in paths:

        async def endpoint() -> None: ...

        endpoint.__name__ = path
        router.add_api_route(path, endpoint, route_class_override=route_class)


def with_index(app: FastAPI) -> FastAPI:
    """The same application, with an index in front."""
    app.router.routes = indexed(app)
    return app


class Outcome(NamedTuple):
    """What came of a request: what was raised or which status was sent, and the scope that the route was handed, by identity."""

    raised: str
    status: int | None
    scope: dict[str, Any]


async def ask(app: FastAPI, method: str, path: str, **more: Any) -> Outcome:
    """The router's outcome, as the routes stand."""
    scope: Scope = {"type": "http", "method": method, "path": path, "headers": [], "app": app, **more}
    statuses: list[int] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Any:
        raise AssertionError("routing reads no body")

    raised = ""
    try:
        await app.router.app(scope, receive, send)
    except Exception as error:  # noqa: BLE001 - it is what is compared
        raised = repr(error)
    return Outcome(raised, statuses[0] if statuses else None, _seen(scope))


def _seen(scope: Scope) -> dict[str, Any]:
    own = {"route", "endpoint", "router", "app"}
    seen = {key: id(value) if key in own else value for key, value in scope.items() if key != "fastapi"}
    if (part := scope.get("fastapi")) is not None:
        by_value = {"form_limits"}
        seen["fastapi"] = {key: value if key in by_value else id(value) for key, value in part.items()}
    return seen


async def without_and_with(
    app: FastAPI, asked: Sequence[tuple[str, str]], **more: Any
) -> tuple[list[Outcome], list[Outcome]]:
    """The outcomes of these (method, path) without an index, and with it. It stays there."""
    app.router.routes = unindexed(app.routes)
    plain = [await ask(app, method, path, **more) for method, path in asked]
    app.router.routes = indexed(app)
    return plain, [await ask(app, method, path, **more) for method, path in asked]


def index_of(app: FastAPI) -> RouteIndex:
    """The application's index, which it must have."""
    first = app.routes[0]
    assert isinstance(first, RouteIndex)
    return first


def finds(app: FastAPI, method: str, path: str) -> str | None:
    """The name of the endpoint that the index itself finds."""
    _, child = index_of(app).matches({"type": "http", "method": method, "path": path})
    name: str | None = child["endpoint"].__name__ if child else None
    return name


def sample(path: str) -> str:
    """The path with its parameters filled in."""
    return re.sub(r"\{\w+(?::(\w+))?\}", lambda found: SAMPLES.get(found[1] or "", "x"), path)
