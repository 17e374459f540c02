"""``GET /metrics``: for Prometheus, and nobody else."""

import hmac
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from fastapi import APIRouter, Request, Response

from app.core.errors import NotAuthenticated, PermissionDenied
from app.core.http._bearer import authorization, bearer_token
from app.core.http._client_address import LOCAL, Network, parse_address
from app.core.http._state import SCOPE_KEY
from app.core.observability import METRICS_CONTENT_TYPE


def metrics_router(
    exposition: Callable[[], bytes], *, networks: Sequence[Network] = (), token: str | None = None
) -> APIRouter:
    """A plain router with ``/metrics``, open to callers from ``networks`` or with the bearer ``token``.

    Others get 401 when there is a token to present, otherwise 403. A request that came through a proxy which is not
    configured as trusted has the proxy's address, so it is never let in by network: otherwise a forgotten
    TRUSTED_PROXIES would open the metrics to everybody behind a proxy on the same machine.
    """
    router = APIRouter()
    expected = token.encode() if token else None

    @router.get("/metrics", include_in_schema=False)
    def metrics(request: Request) -> Response:
        """Everything that is measured, in Prometheus' text format; made in a worker thread."""
        if not (_has_token(request, expected) or _is_inside(request, networks)):
            if expected is not None:
                raise NotAuthenticated("Metrics are for their collector.")
            raise PermissionDenied("Metrics are for their collector.")
        return Response(exposition(), media_type=METRICS_CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    return router


def _has_token(request: Request, expected: bytes | None) -> bool:
    if expected is None:
        return False
    value = authorization(request.scope["headers"])
    given = bearer_token(value) if value is not None else None
    return given is not None and hmac.compare_digest(given.encode("latin-1"), expected)


def _is_inside(request: Request, networks: Sequence[Network]) -> bool:
    address = request.scope[SCOPE_KEY].client_ip
    if address is None or address == LOCAL:
        return False
    peer = parse_address(request.client.host) if request.client is not None else None
    forwarded = "x-forwarded-for" in request.headers or "forwarded" in request.headers
    if forwarded and address == peer:
        return False
    parsed = ip_address(address)
    return any(parsed in network for network in networks if network.version == parsed.version)
