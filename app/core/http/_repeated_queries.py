"""Tells the developer which endpoint asks the database the same again and again: an N+1, most often."""

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.db import watch_queries
from app.core.errors import ConfigurationError

_log = structlog.get_logger(__name__)


class RepeatedQueriesMiddleware:
    """Logs ``request.repeated_query`` (warning) per shape that a request read ``threshold`` times or more from one place.

    With the statement's shape, how often it ran, with how many different parameters, its time, the lines that
    led to it and the endpoint's policy; no values. The answer is not changed. Pure ASGI, inside the edge. For
    development: each statement costs tens of microseconds more. Raises ConfigurationError below 2.
    """

    def __init__(self, app: ASGIApp, *, threshold: int = 5) -> None:
        if threshold < 2:
            raise ConfigurationError("threshold must be 2 or more: one statement is no repetition")
        self.app = app
        self._threshold = threshold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with watch_queries() as queries:
            try:
                await self.app(scope, receive, send)
            finally:
                for found in queries.repeated(self._threshold):
                    _log.warning(
                        "request.repeated_query",
                        statement=found.shape,
                        times=found.times,
                        distinct=found.distinct,
                        total_ms=round(found.total_ms, 3),
                        lines=found.lines,
                        statements=queries.statements,
                        policy=found.policy,
                        method=scope["method"],
                    )
