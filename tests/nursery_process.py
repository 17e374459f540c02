"""``python -m tests.nursery_process FD``: makes a copy of itself for each request on the socket; ends with whoever holds the other end.

A request is a line of JSON: ``{"run": {"module", "arguments", "environment", "folder"}}``, with the files to be standard input, output
and error and whatever the program is to inherit; or ``{"reap": pid}``, for one that has ended.
"""

import array
import gc
import json
import os
import random
import runpy
import signal
import socket
import sys
from importlib import import_module
from typing import Any

_IMPORTED = ("app.main", "app.cli._serve", "app.cli._keys", "app.dev._prepare", "app.dev._runner")
_KEEP = 3  # standard input, output and error


class _Nursery:
    """Forks; in the copy, ``serve`` returns what to run."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._alive: set[int] = set()

    def serve(self) -> dict[str, Any] | None:
        """The request of which this process is the copy, or None when nobody asks any more."""
        while True:
            message, files = self._receive()
            if not message:
                for pid in self._alive:
                    os.kill(pid, signal.SIGKILL)
                return None
            request = json.loads(message)
            if "reap" in request:
                self._answer(self._reap(request["reap"]))
                continue
            pid = os.fork()
            if pid == 0:
                self._become(request["run"], files)
                run: dict[str, Any] = request["run"]
                return run
            for file in files:
                os.close(file)
            self._alive.add(pid)
            self._answer(pid)

    def _receive(self) -> tuple[bytes, list[int]]:
        files = array.array("i")
        message, ancillary, _, _ = self._control.recvmsg(1 << 20, socket.CMSG_SPACE(16 * files.itemsize))
        for _, _, data in ancillary:
            files.frombytes(data[: len(data) - len(data) % files.itemsize])
        return message, list(files)

    def _answer(self, number: int) -> None:
        self._control.sendall(json.dumps(number).encode())

    def _reap(self, pid: int) -> int:
        self._alive.discard(pid)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _become(self, run: dict[str, Any], files: list[int]) -> None:
        self._control.close()
        for number, file in enumerate(files[:_KEEP]):
            os.dup2(file, number)
            os.close(file)
        for file in files[_KEEP:]:
            os.set_inheritable(file, True)
        os.environ.clear()
        os.environ.update(run["environment"])
        os.chdir(run["folder"])
        # Where the program wants to know a file that it inherits, it is told the number which that has here.
        arguments = [str(files[_KEEP]) if word == "{0}" else word for word in run["arguments"]]
        sys.argv = [run["module"], *arguments]
        random.seed()
        signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    """Import, then wait for requests."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, who end us
    for name in _IMPORTED:
        import_module(name)
    gc.freeze()  # for the copies too: a collection that looked at all modules would cost each half of its start, and copy every page
    with socket.socket(fileno=int(sys.argv[1])) as control:
        run = _Nursery(control).serve()
    if run is not None:
        runpy.run_module(run["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
