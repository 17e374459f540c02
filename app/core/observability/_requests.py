"""One finished HTTP request, as the access log and the metrics take it."""

from typing import NamedTuple


class RequestRecord(NamedTuple):
    """Made once per request, after its last byte.

    ``route`` is a path template, never a path; ``status`` 499 means that the client left early; ``size`` is
    the body's bytes; ``policy`` and ``outcome`` are the gate's name and verdict.
    """

    method: str
    route: str
    status: int
    duration_s: float
    size: int
    request_id: str
    client_ip: str | None
    principal_id: str | None
    policy: str | None
    outcome: str | None
