"""The API as real processes, for tests of faults."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import httpx2
import psutil

from app.core.resilience import SystemClock
from app.core.security import TokenKey, TokenService, known_roles, known_scopes
from tests.apps import client_at
from tests.nursery import Child, start

SECRET = "a-secret-of-these-tests-with-over-32-bytes"
PATIENCE_S = 30.0
SERVE = ("app", "serve", "--fd")
_tokens = TokenService(
    [TokenKey.from_secret(SECRET)], issuer="gatehouse", audience="gatehouse", clock=SystemClock()
)


def bearer(
    user: UUID, *, scopes: Iterable[str] = known_scopes, roles: Iterable[str] = known_roles
) -> dict[str, str]:
    """The header of a user, who has every right unless they are named, for processes that were given ``SECRET``."""
    token = _tokens.issue(str(user), scopes=scopes, roles=roles).token
    return {"Authorization": f"Bearer {token}"}


class Api:
    """One process of ``app serve``, or another program that serves an application, and a client of it."""

    def __init__(self, process: Child, client: httpx2.AsyncClient) -> None:
        self.process = process
        self.client = client

    async def wait_ready(self, status: int = 200) -> None:
        """Returns when ``/ready`` answers so: it takes requests, or knows that it cannot."""
        deadline = time.monotonic() + PATIENCE_S
        while (await self.client.get("/ready")).status_code != status:
            assert time.monotonic() < deadline, f"/ready does not become {status}"
            await asyncio.sleep(0.01)  # what it waits for needs the processor, too


@asynccontextmanager
async def api_process(environment: Mapping[str, str], program: Sequence[str] = SERVE) -> AsyncIterator[Api]:
    """Serve on a socket that is open before the process is, so that nobody has to wait for a port.

    ``program``: a module and its arguments; the number of the socket is put after them.
    """
    process, (host, port) = _start(environment, program)
    base = f"http://{host}:{port}"
    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
    try:
        async with client_at(base, timeout=PATIENCE_S, limits=limits) as client:
            api = Api(process, client)
            await api.wait_ready()
            yield api
    finally:
        _end(process)


def _start(environment: Mapping[str, str], program: Sequence[str]) -> tuple[Child, tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        environment = {"PATH": os.defpath, "SECRET_KEY": SECRET, "LOG__LEVEL": "ERROR", **environment}
        process = start(*program, "{0}", environment=environment, inherit=[listener.fileno()])
        return process, listener.getsockname()


def _end(process: Child) -> None:
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    for member in family:
        member.kill()
    process.kill()
    process.wait()
