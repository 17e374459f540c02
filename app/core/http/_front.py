"""The innermost middleware: gates are asked here, so that an answer from the cache or a refusal never enters FastAPI's inner layers."""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.http._route_index import RouteIndex

_CACHEABLE = frozenset({"GET", "HEAD"})


class FrontMiddleware:
    """Add it first: what is added later is around it.

    It asks for GET and HEAD, where the index knows the route: only these have answers in the cache. Every other request meets its gate in
    its route. An error that the gate does not expect is raised again there, because FastAPI's layers know what to answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in _CACHEABLE:
            routes = scope["app"].router.routes
            index = routes[0] if routes else None
            if isinstance(index, RouteIndex) and await index.ask_gate(scope, receive, send):
                return
        await self.app(scope, receive, send)
