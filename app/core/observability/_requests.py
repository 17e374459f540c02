"""Finished HTTP requests, on their way from the edge to the access log and the metrics."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.core.observability._batches import Batches


class RequestRecord(NamedTuple):
    """Made once per request, after its last byte.

    ``ended_at`` is in seconds since the epoch; ``route`` is a path template, never a path; ``status`` 499
    means that the client left early; ``size`` is the body's bytes; ``policy`` and ``outcome`` are the gate's
    name and verdict; ``is_logged`` false keeps it out of the access log unless its status is 500 or above.
    """

    ended_at: float
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
    is_logged: bool = True


Consumer = Callable[[Sequence[RequestRecord]], None]


class RequestReports(Batches[RequestRecord]):
    """Takes finished requests one by one and hands them on in batches.

    One by one, the log line and the metrics of a request cost twice as much, most of it system calls and cold
    caches.
    """
