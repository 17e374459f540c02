"""Finds an issuer's keys by its own description (OpenID Connect Discovery 1.0), and fetches them."""

from typing import Any
from urllib.parse import urlsplit

import orjson

from app.core.security._jwk_set import KeysNotRead
from app.core.security._jwks_endpoint import JwksEndpoint
from app.core.security._oidc_issuer import OidcIssuer, is_fetchable


class OidcKeys:
    """The key set of ``issuer``: at its ``jwks_url``, or where its description says now, which may only be on the same host and port.

    Each of the two documents is fetched as ``JwksEndpoint`` does it: 3 seconds, 64 KiB, no redirects.
    """

    def __init__(self, issuer: OidcIssuer) -> None:
        self._issuer = issuer.issuer
        self._description: JwksEndpoint | None = None
        self._keys: JwksEndpoint | None = None
        self._keys_url = issuer.jwks_url
        if issuer.jwks_url is not None:
            self._keys = JwksEndpoint(issuer.jwks_url)
        else:
            self._description = JwksEndpoint(f"{issuer.issuer.rstrip('/')}/.well-known/openid-configuration")

    async def fetch(self) -> bytes:
        """The key set. Raises ``KeysNotRead`` as ``JwksEndpoint``, and for the description: ``json``, ``issuer`` (it is another's),
        ``address`` (its keys are elsewhere).
        """
        if self._description is not None:
            await self._move_to(_keys_url(await self._description.fetch(), self._issuer))
        assert self._keys is not None  # noqa: S101 - set at the start, or just now
        return await self._keys.fetch()

    async def aclose(self) -> None:
        """Close the clients; there is no fetch after this."""
        for endpoint in (self._description, self._keys):
            if endpoint is not None:
                await endpoint.aclose()

    async def _move_to(self, url: str) -> None:
        if self._keys is not None and url == self._keys_url:
            return
        former, self._keys, self._keys_url = self._keys, JwksEndpoint(url), url
        if former is not None:
            await former.aclose()


def _keys_url(document: bytes, issuer: str) -> str:
    try:
        said: Any = orjson.loads(document)
    except orjson.JSONDecodeError as exc:
        raise KeysNotRead("json") from exc
    if not isinstance(said, dict) or said.get("issuer") != issuer:
        raise KeysNotRead("issuer")
    url = said.get("jwks_uri")
    if not isinstance(url, str) or not is_fetchable(url) or _origin(url) != _origin(issuer):
        raise KeysNotRead("address")
    return url


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
