"""Fetches a key set over HTTP and takes nothing on trust: not its address, its time, its size or its form."""

import asyncio
from functools import cache
from ssl import SSLContext

import httpx2

from app.core.security._jwk_set import KeysNotRead

MAX_BYTES = 65_536
TIMEOUT_S = 3.0


class JwksEndpoint:
    """One URL that an operator has configured, never one that a token names.

    A fetch has ``timeout_s`` seconds in all. Redirects are not followed, proxies of the environment not used, connections not kept.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._client = httpx2.AsyncClient(
            verify=_tls(),
            trust_env=False,
            follow_redirects=False,
            timeout=timeout_s,
            limits=httpx2.Limits(max_connections=1, max_keepalive_connections=0),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "gatehouse"},
        )

    async def fetch(self) -> bytes:
        """The document, at most 64 KiB. Raises ``KeysNotRead`` (``timeout``, ``unreachable``, ``status``, ``encoding``, ``size``)."""
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream("GET", self._url) as response,
            ):
                return await _read(response)
        except (TimeoutError, httpx2.TimeoutException) as exc:
            raise KeysNotRead("timeout") from exc
        except (httpx2.HTTPError, OSError) as exc:
            raise KeysNotRead("unreachable") from exc

    async def aclose(self) -> None:
        """Close the client; there is no fetch after this."""
        await self._client.aclose()


async def _read(response: httpx2.Response) -> bytes:
    if response.status_code != 200:
        raise KeysNotRead("status")
    # None was asked for, and a small compressed document may grow without end.
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise KeysNotRead("encoding")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > MAX_BYTES:
            raise KeysNotRead("size")
    return bytes(body)


@cache
def _tls() -> SSLContext:
    """One for the process: reading the system's certificates takes tens of milliseconds."""
    return httpx2.create_ssl_context(trust_env=False)
