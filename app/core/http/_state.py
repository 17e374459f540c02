"""What one request has gathered so far; made by the edge, filled by the gate, read by the access log."""

from app.core.context import Principal

SCOPE_KEY = "gatehouse"


class RequestState:
    """Mutable, one per request, under ``scope["gatehouse"]``.

    ``headers`` are added to the response's start by the edge, whoever answers; ``outcome`` is the policy's verdict for the access log.
    """

    __slots__ = (
        "client_ip", "error", "gate", "headers", "outcome", "principal", "request_id", "route", "started", "ticket", "traceparent",
    )  # fmt: skip

    def __init__(self, request_id: str, client_ip: str | None, started: float, traceparent: str | None = None) -> None:
        self.request_id = request_id
        self.client_ip = client_ip
        self.started = started
        self.traceparent = traceparent
        self.headers: list[tuple[bytes, bytes]] = []
        self.principal: Principal | None = None
        self.gate: str | None = None
        self.route: str | None = None
        self.outcome: str | None = None
        self.ticket: object | None = None
        self.error: BaseException | None = None
