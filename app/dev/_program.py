"""The API and the worker as processes of their own, so that they stop in order and can be ended when they hang."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.core.errors import ConfigurationError
from app.dev._account import Account
from app.dev._process import POLL_S, ServerFailed, under

SERVE = (sys.executable, "-m", "app", "serve")
WORK = (sys.executable, "-m", "app", "worker")
_START_TIMEOUT_S = 60.0


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises ``ConfigurationError`` when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}; choose another with PORT= or HOST="
        ) from None


class Program:
    """One `python -m app serve` or `worker` with a socket that is open already, so that nobody can take the port in between.

    ``name``: for people. ``command`` gets ``--fd NUMBER`` appended; ``environment`` is all that it sees.
    """

    def __init__(
        self,
        listener: socket.socket,
        environment: Mapping[str, str],
        *,
        name: str,
        clone: Path,
        command: Sequence[str],
    ) -> None:
        self.name = name
        self._listener = listener
        self._environment = environment
        self._clone = clone
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process we started is still there."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the process and return at once. It logs to our standard output."""
        number = self._listener.fileno()
        ours = Account(os.geteuid(), os.getegid())
        self._process = subprocess.Popen(  # noqa: S603 - our own command line
            [*under(ours, signal.SIGTERM), *self._command, "--fd", str(number)],
            cwd=self._clone, env=self._environment, pass_fds=[number], stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def wait_ready(self) -> None:
        """Return when `/ready` says yes. Raises ``ServerFailed`` when the process ends or takes too long."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._is_ready():
            if not self.is_running:
                raise ServerFailed(f"{self.name} did not start; its log is above")
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"{self.name} was not ready after {_START_TIMEOUT_S:.0f} s; see /ready and the log above"
                )
            time.sleep(POLL_S)

    def ask_to_stop(self) -> None:
        """Tell it to stop in order, and return at once."""
        if self._process is not None:
            self._process.terminate()

    def stop(self, grace_s: float) -> None:
        """Let requests in flight and jobs in work finish for ``grace_s`` seconds, then end it."""
        if self._process is None:
            return
        self.ask_to_stop()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.hurry()
            self._process.wait()

    def hurry(self) -> None:
        """End it at once, whatever it is doing; may be called by a signal handler while ``stop`` waits."""
        if self._process is not None:
            self._process.kill()

    def last_words(self) -> str:
        """How it ended; the reason is in its log, which went to the terminal."""
        return f"exit code {self._process.poll()}" if self._process else "it was not started"

    def _is_ready(self) -> bool:
        host, port = self._listener.getsockname()[:2]
        connection = http.client.HTTPConnection(host, port, timeout=5)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
