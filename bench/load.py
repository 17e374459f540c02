"""A server in a process of its own and a load on it: what counts is the CPU time that the server takes per request."""

import asyncio
import contextlib
import copy
import multiprocessing
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from typing import Any, cast

import psutil
import uvicorn
from uvicorn.config import LOGGING_CONFIG

from app.cli._serve import tune_collector

_numbers = count(1_000_000)


@dataclass(frozen=True)
class Measurement:
    """One round: requests answered, the server's CPU seconds, and the round's length in seconds."""

    requests: int
    cpu_s: float
    wall_s: float

    @property
    def cpu_us(self) -> float:
        return 1e6 * self.cpu_s / self.requests


def _serve(factory: str, port: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # the access log is written, and thrown away
    module, _, name = factory.partition(":")
    app = getattr(import_module(module), name)()
    tune_collector()  # for all of them, as `python -m app serve` does
    # The gated application writes an access log of its own, the one with separate dependencies has uvicorn's, the bare ones none.
    logs = getattr(app.state, "wants_access_log", False)
    quiet = copy.deepcopy(LOGGING_CONFIG)
    quiet["loggers"]["uvicorn.error"]["level"] = "WARNING"
    options: dict[str, Any] = {
        "loop": "uvloop",
        "http": "httptools",
        "proxy_headers": False,
        "server_header": False,
    }
    uvicorn.run(app, port=port, log_config=quiet, access_log=logs, **options)


@contextlib.contextmanager
def server(factory: str) -> Iterator["Server"]:
    """Serve ``module:function``'s application until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(factory, port), daemon=True)
    process.start()
    try:
        _wait_for(port)
        yield Server(port, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.join()


def _wait_for(port: int) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise RuntimeError("the server did not start")


@dataclass(frozen=True)
class Server:
    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system

    async def load(
        self, path: str, headers: dict[str, str], *, connections: int, requests: int
    ) -> Measurement:
        """``requests`` in all over that many keep-alive connections; every answer must be 200.

        ``{n}`` in the path becomes another number in each request of this process.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"GET {path} HTTP/1.1\r\nhost: bench\r\n{lines}\r\n".encode()
        cpu, started = self.cpu_s(), time.perf_counter()
        each = requests // connections
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(_connection(self.port, request, each))
        return Measurement(each * connections, self.cpu_s() - cpu, time.perf_counter() - started)


async def _connection(port: int, request: bytes, times: int) -> None:
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_connection(lambda: _Client(request, times), "127.0.0.1", port)
    try:
        await client.done
    finally:
        transport.close()


class _Client(asyncio.Protocol):
    """Sends one request, waits for its answer, sends the next. Reads just enough HTTP to know where an answer ends."""

    def __init__(self, request: bytes, times: int) -> None:
        self._parts = request.split(b"{n}")
        self._left = times
        self._buffer = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not registered as asyncio's
        self._ask()

    def _ask(self) -> None:
        self._transport.write((b"%d" % next(_numbers)).join(self._parts))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._buffer = b""
        if b" 200 " not in head[:16]:
            self.done.set_exception(RuntimeError(f"the server answered {head[:200]!r} {body[:300]!r}"))
            return
        self._left -= 1
        if self._left:
            self._ask()
        else:
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server hung up"))
