"""A small HTTP server inside a process whose work is something else: a worker's probes and metrics."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

_GRACE_S = 1


class SideServer:
    """Serves ``app`` on a socket that listens already, in the running event loop; ``start`` once, ``stop`` once.

    Not for requests of users: it has no lifespan, and cuts what takes longer than a second when it stops. Signals stay with the process.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        self._server = _Server(
            uvicorn.Config(
                app, http="httptools", lifespan="off", log_config=None, access_log=False, proxy_headers=False,
                server_header=False, timeout_graceful_shutdown=_GRACE_S,
            )
        )  # fmt: skip
        self._listener = listener
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Answer from now on, as soon as the loop has time for it."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]), name="side server")

    async def stop(self) -> None:
        """Answer no more, and close the socket."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._listener.close()


class _Server(uvicorn.Server):
    """Leaves the process's signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
