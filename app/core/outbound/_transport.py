"""An HTTP transport that looks at the address when it connects, and calls named hosts only where they can be named.

Checking a URL before the call is not enough: a name may resolve to another address a moment later (DNS rebinding). Here the name is
resolved once, every address that it has is checked, and the connection is made to a checked address. TLS still proves the name.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import cache
from ssl import SSLContext
from time import monotonic
from typing import Any

import httpcore2
import httpx2

from app.core.outbound._addresses import may_be_called
from app.core.outbound._errors import AddressRefused

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system finds them. Raises OSError, also for what is no name."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a part that is empty or too long
        raise OSError("not a name") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that may be called. A name with one address that may not be is refused as a whole."""

    def __init__(self, *, allow_private: bool, resolve: Resolve = resolve) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface's own
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """As the backend's; ``timeout`` is for resolving and for all addresses together. Raises AddressRefused."""
        ends = monotonic() + timeout if timeout is not None else None
        addresses = await self._checked(host, port, timeout)
        for last, address in enumerate(addresses, 1 - len(addresses)):
            try:
                left = None if ends is None else max(0.0, ends - monotonic())
                return await self._inner.connect_tcp(address, port, left, local_address, socket_options)
            except httpcore2.ConnectError:
                if last == 0:
                    raise
        raise httpcore2.ConnectError("the name has no address")

    async def _checked(self, host: str, port: int, timeout: float | None) -> Sequence[str]:  # noqa: ASYNC109
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._resolve(host, port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout from error
        except OSError as error:
            raise httpcore2.ConnectError("the name cannot be resolved") from error
        if not all(may_be_called(address, allow_private=self._allow_private) for address in addresses):
            raise AddressRefused
        return addresses


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """httpx2's transport over ``GuardedBackend``. No proxy from the environment, no retries of its own.

    hosts: the only ones that are called; None: any, where users name them. allow_private: networks that are nobody else's business, and
    this machine, may be called. max_connections: in all; further calls wait within their timeout. resolve: for tests.
    """

    def __init__(
        self,
        hosts: Collection[str] | None,
        *,
        allow_private: bool = False,
        max_connections: int = 100,
        resolve: Resolve = resolve,
    ) -> None:
        context = _tls()
        super().__init__(verify=context, trust_env=False)
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        # httpx2 offers no way to name the backend; httpcore2 does.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=30.0,
            network_backend=GuardedBackend(allow_private=allow_private, resolve=resolve),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As httpx2's. Raises AddressRefused for another host."""
        if self._hosts is not None and request.url.host.lower() not in self._hosts:
            raise AddressRefused
        return await super().handle_async_request(request)


@cache
def _tls() -> SSLContext:
    """One for the process, as reading the system's certificates takes longer than all else at the start of whoever calls."""
    return httpx2.create_ssl_context(trust_env=False)
