"""What browsers are told on every answer, made once: which lines follows from the path alone.

A header line costs about a microsecond of a request, so an answer carries those that protect somebody. An answer of the API is data:
``nosniff`` keeps it from being taken for a page or a script. It is no document, asks for nothing and is read with a bearer token, which no
page of another origin can make a browser send; frame, referrer, opener and resource policies would guard nothing there. Pages are asked
for with a cookie and rendered, and have all of them.
"""

from typing import Final

Lines = tuple[tuple[bytes, bytes], ...]

PAGES: Final = "/ui"
"""The one part of the service whose answers are pages, and that takes the session cookie."""

_NOSNIFF = (b"x-content-type-options", b"nosniff")
# Two years and all names below: what ASVS 5.0 3.4.1 asks for at level 2.
_HSTS = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")
_CSP = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
SCRIPTED_CSP: Final = f"{_CSP}; script-src 'self'; connect-src 'self'"
"""Of a page that runs scripts: those that we serve, which may ask us. What stands in the page itself never runs."""
# What Swagger's page loads; it is served outside production only, holds nothing and sees no cookie of ours.
_DOCS_CSP = (
    b"default-src 'none'; script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    b"img-src 'self' data: https://fastapi.tiangolo.com; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
_DOCUMENT: Lines = (
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
# Not no-referrer: under it a browser sends `Origin: null` with a form of our own, and nobody could tell it from a foreign one.
_REFERRER = (b"referrer-policy", b"same-origin")


def is_page(path: str) -> bool:
    """Whether the path is one of the pages'."""
    return path.startswith(PAGES) and path[3:4] in ("", "/")


class SecurityHeaders:
    """The lines by path. ``hsts``: tell browsers to come by TLS from now on, for a service that is reached so."""

    __slots__ = ("_api", "_docs", "_page")

    def __init__(self, *, hsts: bool = False) -> None:
        strict: Lines = (_HSTS,) if hsts else ()
        self._api: Lines = (_NOSNIFF, *strict)
        self._page: Lines = (
            *self._api, (b"content-security-policy", _CSP.encode()), _REFERRER, *_DOCUMENT, (b"cache-control", b"no-store")
        )  # fmt: skip
        docs: Lines = (
            *self._api, (b"content-security-policy", _DOCS_CSP), (b"referrer-policy", b"no-referrer"), *_DOCUMENT
        )  # fmt: skip
        self._docs = dict.fromkeys(("/docs", "/docs/oauth2-redirect"), docs)

    def of(self, path: str) -> Lines:
        """For an answer to this path that is no page."""
        return self._docs.get(path, self._api)

    def of_page(self, names: frozenset[bytes]) -> Lines:
        """For a page whose own header fields have these names: what it says itself stays."""
        return tuple(line for line in self._page if line[0] not in names)
