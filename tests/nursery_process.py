"""``python -m tests.nursery_process NAME FD``: makes a copy of itself for each request on the abstract socket of that name.

FD is closed when it listens, or somebody else does. It ends with the last of those that are connected; the copies that somebody asked for
end with him. A request is a line of JSON: ``{"run": {"module", "arguments", "environment", "folder"}}``, with the files to be standard
input, output and error and whatever the program is to inherit; or ``{"reap": pid}``, for one that has ended.
"""

import array
import asyncio
import gc
import json
import os
import random
import runpy
import selectors
import signal
import socket
import struct
import sys
from importlib import import_module
from typing import Any

_IMPORTED = (
    "app.main", "app.cli._serve", "app.cli._keys", "app.dev._prepare", "app.dev._runner",
    # What a server imports when it starts.
    "uvicorn.lifespan.on", "uvicorn.loops.uvloop", "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
)  # fmt: skip
_KEEP = 3  # standard input, output and error
_PATIENCE_S = 60.0


class _Nursery:
    """Forks; in the copy, ``serve`` returns what to run."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(listener, selectors.EVENT_READ)
        self._alive: dict[socket.socket, set[int]] = {}

    def serve(self) -> dict[str, Any] | None:
        """The request of which this process is the copy, or None when nobody asks any more."""
        while found := self._waiting.select(None if self._alive else _PATIENCE_S):
            for key, _ in found:
                if key.fileobj is self._listener:
                    self._welcome()
                elif isinstance(key.fileobj, socket.socket):
                    if (run := self._hear(key.fileobj)) is not None:
                        return run
                    if not self._alive:
                        return None
        return None

    def _welcome(self) -> None:
        control, _ = self._listener.accept()
        _, uid, _ = struct.unpack("3i", control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != os.geteuid():
            control.close()
            return
        control.sendall(b"!")
        self._alive[control] = set()
        self._waiting.register(control, selectors.EVENT_READ)

    def _hear(self, control: socket.socket) -> dict[str, Any] | None:
        """One request; what to run, in the copy."""
        message, files = _receive(control)
        if not message:
            for pid in self._alive.pop(control):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            self._waiting.unregister(control)
            control.close()
            return None
        request = json.loads(message)
        if "reap" in request:
            self._alive[control].discard(request["reap"])
            control.sendall(json.dumps(_reap(request["reap"])).encode())
            return None
        run: dict[str, Any] = request["run"]
        pid = os.fork()
        if pid == 0:
            self._become(run, files)
            return run
        for file in files:
            os.close(file)
        self._alive[control].add(pid)
        control.sendall(json.dumps(pid).encode())
        return None

    def _become(self, run: dict[str, Any], files: list[int]) -> None:
        self._waiting.close()
        for ours in (self._listener, *self._alive):
            ours.close()
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


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """A message, empty when there will be no more, and the files that came with it."""
    files = array.array("i")
    try:
        message, ancillary, _, _ = control.recvmsg(1 << 20, socket.CMSG_SPACE(16 * files.itemsize))
    except ConnectionResetError:
        return b"", []
    for _, _, data in ancillary:
        files.frombytes(data[: len(data) - len(data) % files.itemsize])
    return message, list(files)


def _reap(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def _build_once() -> None:
    """What building the service makes for good: routes, statements' shapes, patterns. The application itself is thrown away."""
    settings = import_module("app.settings").Settings(_env_file=None, app_env="test")
    import_module("app.main").audited(settings)


def _listen(name: str, announce: int) -> socket.socket | None:
    """None when somebody else listens there."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(f"\0{name}")
    except OSError:
        return None
    listener.listen()
    os.close(announce)
    return listener


def main() -> None:
    """Import, then wait for requests."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, who end us
    listener = _listen(sys.argv[1], int(sys.argv[2]))
    if listener is None:
        return
    gc.disable()
    for name in _IMPORTED:
        import_module(name)
    with import_module("tests.built_once").building_once():
        asyncio.run(_build_once())
        gc.freeze()  # for the copies too: a collection that looked at all modules would cost each half of its start, and copy every page
        gc.enable()
        with listener:
            run = _Nursery(listener).serve()
        if run is not None:
            runpy.run_module(run["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
