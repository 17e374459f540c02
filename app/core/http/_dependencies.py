"""Dependencies for handlers: the caller, what features provide, and the single checks for routes guarded by hand."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from app.core.context import Principal, current_context, set_context
from app.core.errors import ConfigurationError, NotAuthenticated
from app.core.http._credentials import Credentials, being_changed
from app.core.http._idempotency_key import key_in
from app.core.http._platform import Platform
from app.core.http._state import SCOPE_KEY
from app.core.policies import Caller, Plan, Security
from app.core.security import InvalidToken

T = TypeVar("T")
_NO_LIMITS = Plan("by_hand", [])


def platform_of(request: Request) -> Platform:
    """What this application is made of."""
    platform: Platform = request.app.state.gatehouse
    return platform


def provided(kind: type[T]) -> Callable[[Request], Any]:
    """A dependency that hands out what some feature provides under ``kind``: ``Annotated[Health, Depends(provided(Health))]``.

    Raises ConfigurationError, naming ``kind``, when no feature provides it.
    """

    async def provide(request: Request) -> T:
        return platform_of(request).require(kind)

    return provide


async def _caller(request: Request) -> Principal:
    """The authenticated caller: the one the gate found, or for a route without a gate the token's or API key's, in a round trip
    that asks whether it was revoked. Raises 401; 503 while that cannot be told, or the keys of its issuer cannot be had.
    """
    principal = current_context().principal
    if principal is not None:
        return principal
    platform = platform_of(request)
    if platform.tokens is None:
        raise ConfigurationError("No feature provides a TokenVerifier")
    credentials = platform.credentials
    principal = await _presented(request, credentials)
    try:
        await _refuse_revoked(request, principal)
    except InvalidToken:
        if not credentials.looked_up_anew(principal):
            raise
        principal = await _presented(request, credentials)
        await _refuse_changing(request, principal)
    tenant_id, user_id = principal.tenant_id, principal.id
    set_context(current_context()._replace(principal=principal, tenant_id=tenant_id, user_id=user_id))
    request.scope[SCOPE_KEY].principal = principal
    return principal


async def _presented(request: Request, credentials: Credentials) -> Principal:
    principal = await credentials.found(request.scope["headers"], request.scope[SCOPE_KEY].client_ip)
    if principal is None:
        raise NotAuthenticated("This needs a bearer token.")
    return principal


async def _refuse_changing(request: Request, principal: Principal) -> None:
    try:
        await _refuse_revoked(request, principal)
    except InvalidToken:
        raise being_changed() from None


async def _refuse_revoked(request: Request, principal: Principal) -> None:
    admitter = platform_of(request).admitter
    if admitter.proves_tokens:
        admission = await admitter.admit(_NO_LIMITS, Caller(principal, ""))
        if not admission.allowed:
            raise admission.refusal()


CurrentPrincipal = Annotated[Principal, Depends(_caller)]


async def _platform(request: Request) -> Platform:
    return platform_of(request)


CurrentPlatform = Annotated[Platform, Depends(_platform)]
"""What this application is made of, for handlers; without the thread that FastAPI takes for a dependency that is no coroutine."""


async def _idempotency_key(request: Request) -> str | None:
    return key_in(request.scope)


CurrentIdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
"""The text of the request's ``Idempotency-Key``, the same whether it was sent as a bare word or as a quoted string; None without one.

For handlers that put it into their own rows; 400 for a header that is no key. The gate describes the header in OpenAPI.
"""


def require_scope(*scopes: str) -> Callable[[Request, Principal], Any]:
    """``Depends(require_scope("read:records"))``: the caller, if he has every scope; 401 without a token, 403 naming the scope.

    For routes guarded by hand; a gate's ``JobConfig.security`` does the same and counts the attempt.
    """
    return _requirement(Security(scopes=scopes))


def roles_required(roles: Sequence[str]) -> Callable[[Request, Principal], Any]:
    """``Depends(roles_required(["db_reader"]))``: the caller, if he has any of the roles; 401 without a token, 403 otherwise."""
    return _requirement(Security(roles=tuple(roles)))


def require_mfa(max_age: int | None = None) -> Callable[[Request, Principal], Any]:
    """``Depends(require_mfa(max_age=300))``: the caller, if his token says that he proved a second factor, at most ``max_age`` seconds ago;
    401 with the challenge of RFC 9470 otherwise.

    For routes guarded by hand; ``JobConfig.security`` has ``mfa`` and ``max_age``.
    """
    return _requirement(Security(mfa=True, max_age=max_age))


def require_recent_sign_in(max_age: int) -> Callable[[Request, Principal], Any]:
    """``Depends(require_recent_sign_in(300))``: the caller, if he proved who he is, by whatever means, at most ``max_age`` seconds ago; 401
    with the challenge of RFC 9470 otherwise.
    """
    return _requirement(Security(max_age=max_age))


def _requirement(security: Security) -> Callable[[Request, Principal], Any]:
    async def check(request: Request, principal: CurrentPrincipal) -> Principal:
        if (refusal := security.refusal(principal, platform_of(request).clock)) is not None:
            raise refusal
        return principal

    return check
