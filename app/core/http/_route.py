"""The route that runs the gate: before FastAPI reads the body, and again when the response is built and nothing has been sent.

``handle`` admits; a refusal is answered there, as bytes. The handler that ``get_route_handler`` wraps runs while the request's
sessions, of either dependency scope, are still open: it commits them, so no caller sees a success that was not stored.
"""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from fastapi import APIRouter as FastAPIRouter
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from app.core.context import RequestContext, reset_context, set_context
from app.core.db import Database, session_scope
from app.core.errors import GatehouseError, MethodNotAllowed, Unavailable
from app.core.http._bound import BoundGate
from app.core.http._gate import Ticket, reset_ticket, set_ticket
from app.core.http._problem import send_problem
from app.core.http._state import SCOPE_KEY, RequestState


class Binding(NamedTuple):
    """What the boot audit found for one path of a route: its gate (None: on the open list), the database whose sessions the route
    commits, and the methods that the path takes in all, on this route and on others.
    """

    gate: BoundGate | None
    database: Database
    allowed: frozenset[str]


class GatedRoute(APIRoute):
    """A FastAPI route with a gate in front. It serves only after the boot audit has bound it."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        # By path template: one route object may be included under several prefixes, each with a gate of its own.
        self._bindings: dict[str, Binding] = {}
        super().__init__(path, endpoint, **options)

    def bind(self, path: str, binding: Binding) -> None:
        """Take what the audit found for ``path``."""
        self._bindings[path] = binding

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        binding = self._bindings.get(template(scope, self))
        try:
            if binding is None:
                raise Unavailable("This route was added after the start and has not been audited.")
            # A wrong method is no attempt at this endpoint: nothing is charged.
            if self.methods and scope["method"] not in self.methods:
                raise MethodNotAllowed(binding.allowed)
            gate = binding.gate
            ticket = await gate.enter(scope, scope[SCOPE_KEY]) if gate is not None else None
        except GatehouseError as refusal:
            await send_problem(scope, send, refusal)
            return
        await self._serve(binding.database, ticket, scope, receive, send)

    async def _serve(
        self, database: Database, ticket: Ticket | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        state: RequestState = scope[SCOPE_KEY]
        ticket_token = set_ticket(ticket)
        context_token = set_context(_context_of(state, ticket))
        try:
            with session_scope(database) as sessions:
                state.sessions = sessions
                await super().handle(scope, receive, send)
        finally:
            reset_context(context_token)
            reset_ticket(ticket_token)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def settle(request: Request) -> Response:
            sessions = request.scope[SCOPE_KEY].sessions
            try:
                response = await handler(request)
            except BaseException:
                await sessions.rollback()
                raise
            if sessions.is_used:
                await sessions.commit()
            return response

        return settle


class APIRouter(FastAPIRouter):
    """FastAPI's router whose routes are gated. Use it for everything that is not served by hand."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("route_class", GatedRoute)
        super().__init__(**options)


def template(scope: Scope, route: APIRoute) -> str:
    """The route's whole path template, include prefixes among it."""
    context = scope.get("fastapi", {}).get("effective_route_context")
    if context is not None and context.original_route is route:
        path: str = context.path_format
        return path
    return route.path_format


def _context_of(state: RequestState, ticket: Ticket | None) -> RequestContext:
    if ticket is None:
        return RequestContext(state.request_id, state.client_ip, traceparent=state.traceparent)
    principal = ticket.principal
    tenant_id, user_id = (principal.tenant_id, principal.id) if principal is not None else (None, None)
    return RequestContext(
        state.request_id,
        state.client_ip,
        ticket.name,
        principal,
        tenant_id,
        user_id,
        ticket.deadline,
        state.traceparent,
    )
