"""What one request has gathered so far; made by the edge, filled by the gate, read by the access log."""

from collections.abc import MutableMapping
from typing import Any

from app.core.context import Principal
from app.core.db import SessionScope
from app.core.policies import Caller

SCOPE_KEY = "gatehouse"


class RequestState:
    """Mutable, one per request, under ``scope["gatehouse"]``.

    ``headers`` are added to the response's start by the edge, whoever answers; ``outcome`` is the policy's
    verdict for the access log, ``gate`` the policy's name, ``route`` the path template (set at the end).
    ``body_limit`` (bytes) may be lowered by the gate until the body is read; ``content_length`` is what the
    request declares, None when it declares nothing. ``sessions`` are the request's database sessions, ``changed``
    the tags whose cached answers end with its commit. ``refresh``: the answer came from the cache and is to be
    computed anew in the background, for this caller. ``found``: what the route index says of where the request goes; ``through``: what
    its gate let through, on its way from the front to the route.

    Nothing that knows the scope may be kept here: the cycle would leave every request to the garbage collector,
    which doubled what a request costs (measured).
    """

    __slots__ = (
        "body_limit", "changed", "client_ip", "content_length", "found", "gate", "headers", "is_logged", "outcome", "principal", "refresh",
        "request_id", "route", "sessions", "started", "through", "traceparent",
    )  # fmt: skip

    def __init__(
        self, request_id: str, client_ip: str | None, started: float, traceparent: str | None = None
    ) -> None:
        self.request_id = request_id
        self.client_ip = client_ip
        self.started = started
        self.traceparent = traceparent
        self.headers: list[tuple[bytes, bytes]] = []
        self.principal: Principal | None = None
        self.gate: str | None = None
        self.route: str | None = None
        self.outcome: str | None = None
        self.is_logged = True
        self.sessions: SessionScope | None = None
        self.body_limit: int | None = None
        self.content_length: int | None = None
        self.changed: list[str] | None = None
        self.refresh: Caller | None = None
        self.found: MutableMapping[str, Any] | None = None
        self.through: Any = None
