"""An issuer of others whose access tokens are accepted, as an operator describes it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import urlsplit
from uuid import UUID

from app.core.errors import ConfigurationError
from app.core.security._keys import Algorithm

ALGORITHMS: frozenset[Algorithm] = frozenset({"RS256", "ES256", "EdDSA"})
MAX_NAMES = 64
_MAX_PORT = 65_535
_LABEL = "[a-z0-9]([a-z0-9_-]*[a-z0-9])?"
_URL = re.compile(
    rf"https?://(?:{_LABEL}(?:[.]{_LABEL})*|\[::1\])(?::(?P<port>[1-9][0-9]{{0,4}}))?(?:/[A-Za-z0-9._~%/-]*)?(?:\?[A-Za-z0-9._~%/&=+-]*)?"
)
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NameMapping:
    """Which of an issuer's words are our scopes, or roles: none by default.

    claim: where they stand, a list of texts or one text with spaces: the name of a claim, or a path of names into nested ones.
    prefix: what each must begin with; it is cut off. names: then those that count, and what each is here.
    """

    claim: tuple[str, ...] = ()
    prefix: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.claim) != bool(self.names):
            raise ConfigurationError("a mapping has a claim and names, or neither")
        if len(self.names) > MAX_NAMES:
            raise ConfigurationError(f"a mapping has {MAX_NAMES} names at most")


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcIssuer:
    """``issuer`` is the ``iss`` of its tokens, to the letter, and ``audience`` stands for this service in their ``aud``.

    jwks_url: where its keys are; None: where its ``/.well-known/openid-configuration`` says, on the host of ``issuer``.
    algorithms: of RS256, ES256, EdDSA. plain_jwt: accept also tokens whose ``typ`` is ``JWT`` or absent, for an issuer that does not
        write ``at+jwt`` (RFC 9068). trust_authentication: believe its ``amr`` and ``auth_time`` where an endpoint wants a second factor.
    scopes, roles: what its words mean here.

    Raises ConfigurationError for addresses that are not https (http is for this machine) or carry a user, a fragment or, for ``issuer``,
    a query; for no audience; and for algorithms that there are not.
    """

    issuer: str
    audience: str
    jwks_url: str | None = None
    algorithms: frozenset[Algorithm] = ALGORITHMS
    plain_jwt: bool = False
    trust_authentication: bool = False
    scopes: NameMapping = NameMapping()
    roles: NameMapping = NameMapping()

    def __post_init__(self) -> None:
        if not is_fetchable(self.issuer) or "?" in self.issuer:
            raise ConfigurationError(
                "issuer must be https://host, with a port and a path if it has one, and no query"
            )
        if self.jwks_url is not None and not is_fetchable(self.jwks_url):
            raise ConfigurationError("jwks_url must be an https:// address without a user and a fragment")
        if not self.audience:
            raise ConfigurationError("audience must be what stands in `aud` for this service")
        if not self.algorithms or not self.algorithms <= ALGORITHMS:
            raise ConfigurationError("algorithms must be of RS256, ES256, EdDSA")

    @property
    def is_encrypted(self) -> bool:
        """Whether nobody between us and the issuer could hand us keys of his own."""
        return all(url is None or url.startswith("https://") for url in (self.issuer, self.jwks_url))


def is_fetchable(url: str) -> bool:
    """Whether keys may be read from there: https; http from this machine only."""
    found = _URL.fullmatch(url)
    if found is None or int(found["port"] or 0) > _MAX_PORT:
        return False
    return url.startswith("https://") or urlsplit(url).hostname in _THIS_MACHINE


def oidc_user_id(issuer: str, subject: str) -> UUID:
    """Who the bearer of this ``iss`` and ``sub`` is here: a version 8 UUID (RFC 9562) of their SHA-256.

    Equal subjects of two issuers are two; none is a user of ours (version 7) nor of a Supabase project (version 4).
    """
    name = issuer.encode()
    digest = sha256(
        b"gatehouse oidc subject v1\0" + len(name).to_bytes(4, "big") + name + subject.encode()
    ).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | 0x8 << 76
    return UUID(int=number & ~(0x3 << 62) | 0x2 << 62)
