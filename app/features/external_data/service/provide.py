"""What external data provide to the application."""

from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Protocol

import httpx2
from pydantic import SecretStr

from app.core.errors import ConfigurationError
from app.core.http import Platform
from app.core.outbound import GuardedTransport
from app.features.external_data.service.search import ExternalSearch


class _ExternalData(Protocol):
    url: SecretStr | None
    hosts: list[str]
    allow_private: bool


class ExternalSettings(Protocol):
    """The settings that this feature reads; the service's ``Settings`` has them."""

    external_data: _ExternalData


def provide_external_data(platform: Platform, settings: ExternalSettings) -> Mapping[type[Any], Any]:
    """``ExternalSearch``, with a client of its own that is closed at the end. Raises ConfigurationError for a URL that is none."""
    chosen = settings.external_data
    if chosen.url is None:
        return {ExternalSearch: ExternalSearch(None, None)}
    url = _url(chosen.url.get_secret_value())
    transport = GuardedTransport({url.host, *chosen.hosts}, allow_private=chosen.allow_private)
    client = httpx2.AsyncClient(
        transport=transport,
        trust_env=False,
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "gatehouse"},
        # One client serves all callers: a cookie set for one of them must not be sent for another.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
    )
    platform.on_stop.append(client.aclose)
    return {ExternalSearch: ExternalSearch(client, url)}


def _url(text: str) -> httpx2.URL:
    # The text may hold a key or a password: no message may show it.
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        url = httpx2.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError("EXTERNAL_DATA__URL must be http://host/path or https://host/path")
    return url
