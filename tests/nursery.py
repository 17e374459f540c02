"""Processes that start at once: copies of one that has imported the service already.

An interpreter needs more than a second of CPU time to import the service, and the tests of faults start dozens of them. Here one process
for all test processes of a run imports it (``tests.nursery_process``), and is forked for each that is wanted. What comes out is a process
like any other: it runs a module as ``__main__`` with an environment and arguments of its own, is signalled and killed, and ends with an
exit code. Not for tests of how a process starts: those start an interpreter.
"""

import array
import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

CHECKOUT = Path(__file__).parents[1]
_STARTS = 5


class _Nursery:
    """A connection to the process that is copied, which whoever comes first starts; one question at a time."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control = self._connect(
            f"gatehouse-nursery-{os.environ.get('PYTEST_XDIST_TESTRUNUID', uuid4().hex)}"
        )
        atexit.register(self.close)

    def close(self) -> None:
        """End every copy of ours that still runs. Who has started the process sees it end, when nobody is connected any more."""
        self._control.close()
        if self._process is not None:
            self._process.wait()

    def _connect(self, name: str) -> socket.socket:
        for _ in range(_STARTS):
            control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
                control.connect(f"\0{name}")
                if control.recv(1):
                    return control
            control.close()
            self._start(name)
        raise AssertionError("the nursery does not start")

    def _start(self, name: str) -> None:
        """Returns when somebody listens, whether it is ours or one that was quicker, which leaves ours nothing to do."""
        if self._process is not None:
            self._process.wait()
        ours, theirs = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery_process", name, str(theirs)],
            cwd=CHECKOUT,
            env={"PATH": os.defpath},
            pass_fds=(theirs,),
            stdin=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.read(ours, 1)
        os.close(ours)

    def ask(self, request: Mapping[str, Any], files: Sequence[int] = ()) -> int:
        """Its answer, a number."""
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        with self._turn:
            self._control.sendmsg([json.dumps(request).encode()], ancillary)
            return int(self._control.recv(64))


@cache
def _nursery() -> _Nursery:
    return _Nursery()


class Child:
    """A copy that runs a program; has what these tests use of ``subprocess.Popen``."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """The exit code, once it has ended; minus the number of the signal that ended it."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises ``subprocess.TimeoutExpired`` when it is still running after ``timeout`` seconds."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing happens to one that has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._ended, select.POLLIN)
            if poll.poll(None if timeout is None else timeout * 1000):
                self.returncode = _nursery().ask({"reap": self.pid})
                os.close(self._ended)
        return self.returncode


def start(
    module: str,
    *arguments: str,
    environment: Mapping[str, str],
    inherit: Sequence[int] = (),
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    folder: Path = CHECKOUT,
) -> Child:
    """Run a module as ``python -m`` would, in a new process with exactly this environment.

    ``inherit``: open files that it gets besides the standard ones, which are /dev/null unless they are named; the argument ``{0}``
    becomes the number that the first of them has there.
    """
    request = {
        "module": module,
        "arguments": arguments,
        "environment": dict(environment),
        "folder": str(folder),
    }
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        standard = [nothing if file is None else file for file in (stdin, stdout, stderr)]
        return Child(_nursery().ask({"run": request}, [*standard, *inherit]))
    finally:
        os.close(nothing)


@dataclass(frozen=True)
class Outcome:
    """How a program ended, and what it wrote."""

    code: int
    output: str
    errors: str


def run(
    module: str,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    folder: Path = CHECKOUT,
    timeout_s: float = 60.0,
) -> Outcome:
    """``start`` and wait for the end. Raises ``subprocess.TimeoutExpired``, and then the program is killed."""
    given = {"PATH": os.defpath, **(environment or {})}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        child = start(
            module,
            *arguments,
            environment=given,
            folder=folder,
            stdout=output.fileno(),
            stderr=errors.fileno(),
        )
        try:
            code = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise
        for file in (output, errors):
            file.seek(0)
        return Outcome(code, output.read(), errors.read())


def run_program(program: str, *arguments: str) -> Outcome:
    """``python -c program arguments``, in a process that has imported the service already."""
    return run("tests.program", *arguments, environment={"PROGRAM": program})
