"""The cookie by which a browser is known at its next sign-in; no credential, and read by nothing else."""

from fastapi import Request, Response

from app.builtin.accounts.service import MfaRequired

_NAME = "device"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def known_device(request: Request) -> str | None:
    """What the browser kept, unverified."""
    return request.cookies.get(_name(request))


def keep_device(request: Request, response: Response, token: str | None, *, life_s: int) -> None:
    """Let the browser keep the token for ``life_s`` seconds: only for this host, for no script, and for no request from another site."""
    if token is not None:
        response.set_cookie(
            _name(request),
            token,
            max_age=life_s,
            path="/",
            secure=_is_secure(request),
            httponly=True,
            samesite="strict",
        )


def keep_device_of(request: Request, waiting: MfaRequired, *, life_s: int) -> None:
    """The same with the answer to a sign-in that waits for its second half, which does not know the password any more."""
    answer = Response()
    keep_device(request, answer, waiting.device, life_s=life_s)
    waiting.headers |= {name: value for name, value in answer.headers.items() if name == "set-cookie"}


def _name(request: Request) -> str:
    return f"__Host-{_NAME}" if _is_secure(request) else _NAME


def _is_secure(request: Request) -> bool:
    # Behind a proxy that ends TLS the scheme is http here and https for the browser: only a developer's own machine goes without.
    return request.url.scheme == "https" or request.url.hostname not in _LOOPBACK
