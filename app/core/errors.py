"""Base errors of the platform. Each carries the HTTP status it becomes as a plain int, so no layer needs a framework to say "no".

GatehouseError                 500  something the caller cannot mend
├── ConfigurationError         500  refused at start: wrong options, missing provider, ungated route
├── BadRequest                 400
├── NotAuthenticated           401  with the challenge for WWW-Authenticate
├── PermissionDenied           403
├── NotFound                   404
│   └── EntityNotFoundError    404  (the documents' name; deliberately not a DatabaseError)
├── MethodNotAllowed           405  with Allow
├── Conflict                   409
├── PayloadTooLarge            413
├── Unprocessable              422
├── PolicyRejected             429  a policy said no; subclasses carry their own status
├── Unavailable                503  an outage; always with Retry-After
│   └── DatabaseError          see app.core.db
└── DeadlineExceeded           504  the endpoint's time is over
"""

from collections.abc import Iterable, Mapping
from typing import Any


class GatehouseError(Exception):
    """Base of all our errors.

    ``detail`` is shown to the caller: never put secrets, SQL or another library's text in it; that belongs in ``__cause__``.
    ``extensions`` become members of the problem document, ``headers`` are added to the answer.
    """

    status: int = 500
    title: str = "Internal Server Error"
    type: str = "about:blank"

    def __init__(
        self,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.headers: dict[str, str] = dict(headers or {})
        self.extensions: dict[str, Any] = dict(extensions or {})


class ConfigurationError(GatehouseError):
    """The program is put together wrongly; raised when it starts, never for a request."""


class BadRequest(GatehouseError):
    """The request cannot be understood."""

    status = 400
    title = "Bad Request"


class NotAuthenticated(GatehouseError):
    """No valid credentials. ``challenge`` goes out as ``WWW-Authenticate`` (RFC 6750 section 3)."""

    status = 401
    title = "Unauthorized"

    def __init__(self, detail: str | None = None, *, challenge: str = "Bearer") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class PermissionDenied(GatehouseError):
    """The caller is known and may not do this."""

    status = 403
    title = "Forbidden"


class NotFound(GatehouseError):
    """There is no such thing, or the caller may not know that there is."""

    status = 404
    title = "Not Found"


class EntityNotFoundError(NotFound):
    """A row that was asked for by its identity does not exist (or belongs to somebody else)."""


class MethodNotAllowed(GatehouseError):
    """The path exists and does not take this method; ``allowed`` are those it does, sent as ``Allow`` (RFC 9110 section 15.5.6)."""

    status = 405
    title = "Method Not Allowed"

    def __init__(self, allowed: Iterable[str]) -> None:
        super().__init__(headers={"Allow": ", ".join(sorted(allowed))})


class Conflict(GatehouseError):
    """The request is right but the present state refuses it, for example a name that is taken."""

    status = 409
    title = "Conflict"


class PayloadTooLarge(GatehouseError):
    """The body is longer than the endpoint takes."""

    status = 413
    title = "Content Too Large"


class Unprocessable(GatehouseError):
    """The request is well formed and makes no sense."""

    status = 422
    title = "Unprocessable Content"


class PolicyRejected(GatehouseError):
    """A policy said no. Catch this one class to catch every refusal.

    ``policy`` names the endpoint's policy, ``violated`` all limits that refused, ``retry_after`` is in whole seconds.
    """

    status = 429
    title = "Too Many Requests"

    def __init__(
        self,
        detail: str | None = None,
        *,
        policy: str | None = None,
        violated: tuple[str, ...] = (),
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail, headers=headers, extensions=extensions)
        self.policy = policy
        self.violated = violated
        self.retry_after = retry_after
        if policy is not None:
            self.extensions.setdefault("policy", policy)
        if violated:
            self.extensions.setdefault("violated-policies", list(violated))
        if retry_after is not None:
            self.headers.setdefault("Retry-After", str(retry_after))


class Unavailable(GatehouseError):
    """Something we need does not answer. ``retry_after`` is in whole seconds."""

    status = 503
    title = "Service Unavailable"

    def __init__(
        self, detail: str | None = None, *, retry_after: int = 1, extensions: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)}, extensions=extensions)
        self.retry_after = retry_after


class DeadlineExceeded(GatehouseError):
    """The handler did not finish in the endpoint's time. Whether it had an effect is unknown unless its transaction was rolled back."""

    status = 504
    title = "Gateway Timeout"
