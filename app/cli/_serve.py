"""Serve the API with uvicorn, in one process or several."""

import gc
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from app.core.errors import ConfigurationError
from app.core.observability import prepare_multiprocess_dir
from app.settings import Settings


def serve(settings: Settings, *, fd: int | None = None) -> int:
    """Serve until SIGINT or SIGTERM, then let requests in flight finish; returns the exit code.

    ``fd`` is a listening socket that was opened by whoever started us; otherwise we listen on ``settings.host`` and ``port``.
    Raises ``ConfigurationError`` when that address cannot be had.
    """
    with listen(settings.host, settings.port, fd=fd, hint="set HOST or PORT") as listener:
        run = _serve_here if settings.workers == 1 else _serve_in_workers
        return run(_config(settings), listener)


def application() -> Any:
    """The API for uvicorn, which turns new work away from the moment the process is told to stop.

    Uvicorn by itself only stops accepting connections then; requests on open ones would still be let in.
    """
    app = import_module("app.main").create_app()
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with inner(app) as state:
            tune_collector()
            with _draining_at_signal(app.state.gatehouse.traffic.drain):
                yield state

    app.router.lifespan_context = lifespan
    return app


def tune_collector() -> None:
    """Make Python's garbage collector rare and cheap for a process that serves requests until it ends.

    What the start has made stays for good, so it is taken out of every collection; and as a request leaves no reference cycles
    behind, young objects need looking at every 5,000 and not every 700. That is a tenth of a request's CPU time (measured). Not for
    tests or scripts: it keeps what is garbage at the time of the call alive for ever.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)


@contextmanager
def _draining_at_signal(drain: Callable[[], None]) -> Iterator[None]:
    """Call ``drain`` before uvicorn's own handlers, which it has installed by the time the lifespan starts."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        drain()
        previous = handlers[signal.Signals(number)]
        if callable(previous):
            previous(number, frame)

    for number in handlers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, previous in handlers.items():
            signal.signal(number, previous)


class _QuietServer(uvicorn.Server):
    """Does not raise the signal again that stopped it: a server that was asked to stop has not failed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            self._captured_signals.clear()


def _serve_here(config: uvicorn.Config, listener: socket.socket) -> int:
    server = _QuietServer(config)
    try:
        server.run(sockets=[listener])
    except SystemExit:  # the application refused to start, and has said why in the log
        return 1
    return 0 if server.started else 1


def _serve_in_workers(config: uvicorn.Config, listener: socket.socket) -> int:
    with tempfile.TemporaryDirectory(prefix="gatehouse-metrics-") as folder:
        # Before the workers start: their metrics go into files from the moment they import the metrics library.
        prepare_multiprocess_dir(Path(folder))
        workers = Multiprocess(config, sockets=[listener])
        workers.run()
    return 1 if any(worker.exitcode == STARTUP_FAILURE for worker in workers.processes) else 0


def _config(settings: Settings) -> uvicorn.Config:
    """Uvicorn's options. The edge writes the access log, finds the client's address and sets the server's header itself."""
    options: dict[str, Any] = {
        "factory": True, "workers": settings.workers, "loop": "uvloop", "http": "httptools", "lifespan": "on",
        "log_config": None, "access_log": False, "proxy_headers": False, "server_header": False,
        "timeout_graceful_shutdown": settings.shutdown_grace_s, "timeout_keep_alive": settings.keep_alive_s,
    }  # fmt: skip
    return uvicorn.Config("app.cli._application:application", **options)


def listen(host: str, port: int, *, fd: int | None, hint: str) -> socket.socket:
    """A listening socket: ``fd`` if there is one. Raises ConfigurationError, with ``hint``, when the address cannot be had."""
    if fd is not None:
        return socket.socket(fileno=fd)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}; {hint}"
        ) from None
