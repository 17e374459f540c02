"""The route that runs the gate: before FastAPI reads the body, and again when the response is built and nothing has been sent.

``handle`` admits; a refusal is answered there, as bytes. The handler that ``get_route_handler`` wraps runs while the request's
sessions, of either dependency scope, are still open: it commits them, so no caller sees a success that was not stored.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import structlog
from fastapi import APIRouter as FastAPIRouter
from fastapi import Request, Response
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute
from starlette.types import Message, Receive, Scope, Send

from app.core.context import RequestContext, reset_context, set_context
from app.core.db import Database, SessionScope, session_scope
from app.core.errors import GatehouseError, MethodNotAllowed, Unavailable
from app.core.http._answer import Answer
from app.core.http._bound import BoundGate
from app.core.http._changed import invalidate_changed
from app.core.http._claims import Claims
from app.core.http._collected import Collected
from app.core.http._gate import Ticket, current_ticket, reset_ticket, set_ticket
from app.core.http._problem import send_problem
from app.core.http._state import SCOPE_KEY, RequestState
from app.core.policies import Caller

_log = structlog.get_logger(__name__)


class Binding(NamedTuple):
    """What the boot audit found for one path template of a route: its gate (None: on the open list), the database whose sessions the
    route commits, and the methods that the path takes in all, on this route and on others.
    """

    path: str
    gate: BoundGate | None
    database: Database
    allowed: frozenset[str]


class Through(NamedTuple):
    """What the gate let through, on what terms: with its ticket (None on an open route)."""

    binding: Binding
    ticket: Ticket | None


class GatedRoute(APIRoute):
    """A FastAPI route with a gate in front. It serves only after the boot audit has bound it."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        # By path template: one route object may be included under several prefixes, each with a gate of its own.
        self._bindings: dict[str, Binding] = {}
        super().__init__(path, endpoint, **options)

    def bind(self, binding: Binding) -> None:
        """Take what the audit found for a path."""
        self._bindings[binding.path] = binding

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        state: RequestState = scope[SCOPE_KEY]
        # Taken off the state: a ticket knows the scope, which knows the state.
        through, state.through = state.through, None
        if through is None and (through := await self._ask(scope, receive, send)) is None:
            return
        if isinstance(through, Exception):
            raise through
        binding, entered = through
        if entered is None or entered.claims is None:
            await self._serve(binding, entered, scope, receive, send)
        elif entered.claims.stale is None:
            await self._serve_claimed(binding, entered, entered.claims, scope, send)
        else:
            await self._serve_or_stale(binding, entered, entered.claims, scope, send)

    async def ask_gate(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Ask the gate before ``handle``, which then goes on where this ended. True: the request is answered, there is nothing to handle.

        An unexpected error is raised by ``handle``, where FastAPI's layers know what to answer.
        """
        through: Through | Exception | None
        try:
            through = await self._ask(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - raised again
            through = error
        scope[SCOPE_KEY].through = through
        return through is None

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> Through | None:
        """None: the gate has answered."""
        path = template(scope, self)
        binding = self._bindings.get(path)
        try:
            if binding is None:
                raise Unavailable("This route was added after the start and has not been audited.")
            # A wrong method is no attempt at this endpoint: nothing is charged.
            if self.methods and scope["method"] not in self.methods:
                raise MethodNotAllowed(binding.allowed)
            gate = binding.gate
            entered = await gate.enter(scope, receive, scope[SCOPE_KEY], path) if gate is not None else None
        except GatehouseError as refusal:
            await send_problem(scope, send, refusal)
            return None
        if isinstance(entered, Answer):
            await entered.send(scope, send)
            self._refresh(binding, scope, receive)
            return None
        return Through(binding, entered)

    async def _serve(
        self, binding: Binding, ticket: Ticket | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        state: RequestState = scope[SCOPE_KEY]
        if ticket is not None:
            await ticket.gate.traffic.turn()
        ticket_token = set_ticket(ticket)
        context_token = set_context(_context_of(state, ticket, binding.path))
        try:
            with session_scope(binding.database) as sessions:
                state.sessions = sessions
                await super().handle(scope, receive, send)
        finally:
            reset_context(context_token)
            reset_ticket(ticket_token)

    async def _serve_claimed(
        self, binding: Binding, ticket: Ticket, claims: Claims, scope: Scope, send: Send
    ) -> None:
        """Serve, and settle what was put off as soon as the last byte is out: background tasks must not hold a slot."""

        async def settling(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                await claims.finish()

        claims.renew()
        try:
            await self._serve(binding, ticket, scope, claims.receive, settling)
        finally:
            claims.end_renewal()
            await claims.abort()

    async def _serve_or_stale(
        self, binding: Binding, ticket: Ticket, claims: Claims, scope: Scope, send: Send
    ) -> None:
        """Compute anew, but give the stale answer, for nothing, when that takes too long or fails. What takes too long goes on, and is
        stored.
        """
        stale, gate, turnstile = claims.stale, ticket.gate, ticket.gate.turnstile
        assert stale is not None and turnstile is not None  # noqa: S101, PT018 - by the caller
        collected = Collected()
        work = self._serve_claimed(binding, ticket, claims, scope, collected.take)
        # In the background from the start: it goes on, and the stop waits for it, also when the caller goes meanwhile.
        task = gate.background.start(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=turnstile.soft_timeout)
            if not done and not turnstile.free(claims):
                done, _ = await asyncio.wait({task})  # it is there and is being paid for, so he gets it
        except asyncio.CancelledError:
            turnstile.free(claims)
            raise
        error = task.exception() if done else None
        if done and error is None:
            if collected.is_good:
                await collected.give(send)
                return
            turnstile.free(claims)
        if error is not None:
            _log.warning("http.stale_instead", policy=ticket.name, error=type(error).__name__)
        await stale.send(scope, send)

    def _refresh(self, binding: Binding, scope: Scope, receive: Receive) -> None:
        """Compute an answer that is about to end, in the background, as the caller who just got it."""
        state, gate = scope[SCOPE_KEY], binding.gate
        if gate is not None and state.refresh is not None and gate.background.has_room():
            gate.background.start(self._compute_anew(binding, gate, scope, receive, state.refresh))

    async def _compute_anew(
        self, binding: Binding, gate: BoundGate, scope: Scope, receive: Receive, caller: Caller
    ) -> None:
        entered = await gate.refresh(scope, receive, caller)
        if entered is None or entered.claims is None:
            return
        claims = entered.claims

        async def serve(scope: Scope, _: Receive, send: Send) -> None:
            await self._serve_claimed(binding, entered, claims, scope, send)

        # With a stack of its own, as around any handler: that of the request which showed the old answer has ended, or never was.
        await AsyncExitStackMiddleware(serve)(scope, receive, Collected().take)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def settle(request: Request) -> Response:
            state: RequestState = request.scope[SCOPE_KEY]
            sessions = state.sessions
            assert sessions is not None  # noqa: S101 - opened around every handler
            ticket, run = current_ticket(), handler
            if ticket is not None and ticket.gate.field_encryption is not None:
                run = ticket.gate.field_encryption.around(handler)
            try:
                if ticket is not None and ticket.claims is not None:
                    response = await ticket.claims.run(request, run, sessions)
                else:
                    response = await _run(run, request, sessions)
            except BaseException:
                if sessions.is_in_doubt and ticket is not None:
                    await invalidate_changed(ticket, request.scope, 200)  # as if it had been committed
                raise
            if ticket is not None and (state.changed is not None or ticket.config.invalidates):
                await invalidate_changed(ticket, request.scope, response.status_code)
            return response

        return settle


async def _run(
    handler: Callable[[Request], Coroutine[Any, Any, Response]], request: Request, sessions: SessionScope
) -> Response:
    """The handler and the commit of its sessions, where nothing else is owed."""
    try:
        response = await handler(request)
    except BaseException:
        await sessions.rollback()
        raise
    if sessions.is_used:
        await sessions.commit()
    return response


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


def _context_of(state: RequestState, ticket: Ticket | None, route: str) -> RequestContext:
    if ticket is None:
        return RequestContext(state.request_id, state.client_ip, traceparent=state.traceparent, route=route)
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
        route,
    )
