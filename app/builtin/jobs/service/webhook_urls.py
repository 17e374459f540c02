"""Which URLs may be webhooks."""

import asyncio
import re

import httpx2

from app.core.errors import Unprocessable
from app.core.outbound import Resolve, may_be_called, resolve

_UNUSUAL = re.compile(r"[\x00-\x20\x7f\\#]")
_LOW_PORTS = frozenset({80, 443})


class WebhookUrls:
    """The rules. ``allow_http``: without TLS too; ``allow_private``: private networks and this machine too, both for development.

    Looking a name up has ``limit_s`` seconds. A name that leads elsewhere later is refused when it is called.
    """

    def __init__(
        self,
        *,
        allow_http: bool = False,
        allow_private: bool = False,
        resolve: Resolve = resolve,
        limit_s: float = 5.0,
    ) -> None:
        self._schemes = ("https", "http") if allow_http else ("https",)
        self._allow_private = allow_private
        self._resolve = resolve
        self._limit_s = limit_s

    def parse(self, text: str) -> httpx2.URL:
        """The URL. Raises Unprocessable (422) for one of another form, with what is wrong with it; never with the URL, which may hold a
        key.
        """
        try:
            url = httpx2.URL(text)
        except httpx2.InvalidURL:
            url = httpx2.URL("")
        if url.scheme not in self._schemes or not url.host or _UNUSUAL.search(text):
            starts = " or ".join(f"{scheme}://" for scheme in self._schemes)
            raise Unprocessable(f"url must be {starts}host/path, without spaces, backslashes and fragments.")
        if url.userinfo:
            raise Unprocessable("url must hold no credentials; the signature says who sends.")
        if url.port is not None and url.port not in _LOW_PORTS and not 1024 <= url.port <= 65_535:
            raise Unprocessable("url may name the ports 80, 443, and 1024 to 65535.")
        return url

    async def check(self, text: str) -> str:
        """The URL as it is kept, after a look at where its host leads. Raises Unprocessable (422)."""
        url = self.parse(text)
        host = url.raw_host.decode("ascii")
        try:
            async with asyncio.timeout(self._limit_s):
                addresses = await self._resolve(host, url.port or (443 if url.scheme == "https" else 80))
        except (OSError, TimeoutError):
            addresses = []
        if not addresses:
            raise Unprocessable("The host of url cannot be found.")
        if not all(may_be_called(address, allow_private=self._allow_private) for address in addresses):
            raise Unprocessable("The host of url is not one that may be called.")
        return str(url)
