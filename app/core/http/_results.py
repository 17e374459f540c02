"""Which answers of a handler are its result: kept under the request's Idempotency-Key and given again to whoever repeats it."""

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.core.errors import GatehouseError, NotAuthenticated, PermissionDenied
from app.core.http._answer import KEPT_HEADERS, Answer, answer_of, pack, replay_of
from app.core.http._problem import response_to
from app.core.policies import Claim, Idempotency
from app.core.security import Sealer

_NOT_RESULTS = frozenset({401, 403, 409, 425, 429, 503})
"""Statuses that say "not now" or "not you": a retry under the same key must be able to have another outcome."""


class Results:
    """One endpoint's; ``config`` is None where requests have no keys."""

    def __init__(self, config: Idempotency | None, sealer: Sealer | None) -> None:
        self.is_durable = config is not None and config.durability == "db"
        self._config = config
        self._sealer = sealer
        named = config.headers if config is not None else ()
        self._headers = KEPT_HEADERS | {name.lower().encode() for name in named}

    def of(self, response: Response, claim: Claim | None) -> bytes | None:
        """The response as it is kept; None when it is no result, or nothing was claimed."""
        config = self._config
        if claim is None or config is None or response.status_code in _NOT_RESULTS:
            return None
        blob = pack(answer_of(response, keep=self._headers, most=config.max_body))
        return self._sealer.seal(blob, claim.key.encode()) if self._sealer is not None else blob

    async def of_error(self, request: Request, error: BaseException) -> Response | None:
        """The answer to what the handler raised, where that is its result; None where a retry may run the handler again."""
        config = self._config
        if config is None or not isinstance(error, Exception):
            return None
        if isinstance(error, NotAuthenticated | PermissionDenied):
            return None
        response = await response_to(request, error)
        if response.status_code in _NOT_RESULTS or (response.status_code >= 500 and not config.saves_errors):
            return None
        return response

    def replay(self, blob: bytes, claim: Claim) -> Answer:
        """A kept result, given again."""
        return replay_of(blob, claim.key, self._sealer)


def is_failure(error: BaseException) -> bool:
    """Whether something went wrong here. Answers below 500, however they are raised, are answers: no stale one may stand in for them."""
    if isinstance(error, GatehouseError):
        return error.status >= 500
    if isinstance(error, HTTPException):
        return error.status_code >= 500
    return isinstance(error, Exception) and not isinstance(error, RequestValidationError)
