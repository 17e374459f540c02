"""The two cookies of the pages, and the token that proves that a form is of ours.

A cookie is 256 random bits and a tag under a key of the service: one that we did not issue is refused without a question to the database.
The session's names a session (its SHA-256 stands in the database); the one of the sign-in form names nothing and only binds the form to
the browser that asked for it.
"""

import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Literal

Kind = Literal["session", "login"]
SESSION: Kind = "session"
LOGIN_FORM: Kind = "login"

_NAMES: dict[Kind, str] = {"session": "gatehouse", "login": "gatehouse-login"}
_FORM_S = 3600
_ATTRIBUTES: dict[Kind, str] = {
    # Lax: a link from elsewhere to one of our pages finds its reader signed in. Forms are proved by their token.
    "session": "; Path=/; HttpOnly; SameSite=Lax",
    "login": f"; Path=/; HttpOnly; SameSite=Strict; Max-Age={_FORM_S}",
}
_TEXT = re.compile(r"([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})").fullmatch
_LOCAL = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE).fullmatch
_CSRF, _KEY = b"gatehouse.pages.csrf", b"gatehouse.pages.cookies"

Scope = Mapping[str, Any]


class PageCookies:
    """Reads and writes them. ``secrets_``: the service's secrets, the one that signs first; ``always_secure``: also where a request
    seems to come by plain HTTP to this machine.

    Names begin with ``__Host-`` and cookies are ``Secure``, except for plain HTTP to localhost, where browsers would not keep them. A
    request takes one of the two names, never the other.
    """

    def __init__(self, secrets_: Iterable[str], *, always_secure: bool) -> None:
        self._keys = [hmac.digest(secret.encode(), _KEY, "sha256") for secret in secrets_]
        self._always_secure = always_secure

    def __repr__(self) -> str:
        return f"PageCookies(always_secure={self._always_secure})"

    def read(self, scope: Scope, kind: Kind) -> str | None:
        """The cookie's token; None without one, with two, or for a text that we did not issue as this kind."""
        text = _only(scope, self._name(scope, kind))
        found = _TEXT(text) if text is not None else None
        if found is None:
            return None
        tags = [self._tag(key, kind, found[1]) for key in self._keys]
        return found[1] if any(hmac.compare_digest(tag, found[2]) for tag in tags) else None

    def new(self) -> str:
        """A token that nobody has."""
        return secrets.token_urlsafe(32)

    def issue(self, scope: Scope, kind: Kind, token: str) -> str:
        """``Set-Cookie`` for an answer to this request."""
        return self._line(scope, kind, f"{token}.{self._tag(self._keys[0], kind, token)}")

    def clear(self, scope: Scope, kind: Kind) -> str:
        """``Set-Cookie`` that takes it away."""
        return self._line(scope, kind, "").partition("; Max-Age")[0] + "; Max-Age=0"

    def _line(self, scope: Scope, kind: Kind, value: str) -> str:
        secure = "; Secure" if self._is_secure(scope) else ""
        return f"{self._name(scope, kind)}={value}{secure}{_ATTRIBUTES[kind]}"

    def _name(self, scope: Scope, kind: Kind) -> str:
        return f"__Host-{_NAMES[kind]}" if self._is_secure(scope) else _NAMES[kind]

    def _is_secure(self, scope: Scope) -> bool:
        if self._always_secure or scope["scheme"] != "http":
            return True
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        return len(hosts) != 1 or _LOCAL(hosts[0].decode("latin-1")) is None

    @staticmethod
    def _tag(key: bytes, kind: Kind, token: str) -> str:
        return _text(hmac.digest(key, f"{kind}:{token}".encode(), "sha256"))


def csrf_token_of(token: str) -> str:
    """What a form must carry that was made for the holder of this cookie: nobody else can compute it, and it does not tell the cookie."""
    return _text(hmac.digest(token.encode(), _CSRF, "sha256"))


def _text(digest: bytes) -> str:
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _only(scope: Scope, name: str) -> str | None:
    """The value of the one cookie of this name."""
    found = []
    for header, line in scope["headers"]:
        if header == b"cookie":
            for pair in line.decode("latin-1").split(";"):
                key, _, value = pair.partition("=")
                if key.strip() == name:
                    found.append(value.strip())
    return found[0] if len(found) == 1 else None
