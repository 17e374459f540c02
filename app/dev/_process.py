"""One server process: started in a session of its own, ended with us, found again after we were killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import psutil

from app.core.errors import GatehouseError
from app.dev._account import Account

POLL_S = 0.01
# The interpreter that launches a server may need the last one to start at all.
CLEAN_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"} | {
    name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ
}
_LAUNCHER = Path(__file__).with_name("_launcher.py")


class ServerFailed(GatehouseError):
    """A server did not start, or stopped by itself. The message ends with its last log lines."""


class ServerProcess:
    """Base of the embedded servers; subclasses say how to start and when the server answers.

    ``folder`` belongs to one server alone. The process is told by the kernel to stop when its parent dies, even by ``kill -9`` (Linux;
    elsewhere the next start stops it). Start it from the main thread: the kernel looks at the thread that made the process.
    Not for production: no TCP, one data folder, development settings.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    start_timeout_s: ClassVar[float] = 30.0

    def __init__(self, folder: Path, account: Account) -> None:
        self.folder = folder
        self.account = account
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The server's data; also its working folder, by which a left-over process is recognised."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What the server wrote since the last start but one."""
        return self.folder / "server.log"

    @property
    def pid(self) -> int:
        """Process id. Raises ``ServerFailed`` when it was never started."""
        if self._process is None:
            raise ServerFailed(f"{self.name} was not started")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process we started is still there."""
        return self._process is not None and self._process.poll() is None

    def command(self) -> list[str]:
        """The command line; without secrets, because everybody on the machine can read it."""
        raise ServerFailed(f"{self.name} has no command")

    def is_answering(self) -> bool:
        """Whether a client that connects now is served."""
        raise ServerFailed(f"{self.name} has no probe")

    def launch(self) -> None:
        """Start the process and return at once; call ``wait_ready`` before use."""
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".old.log"))
        with self.log.open("ab") as log:
            # A session of its own, so that Ctrl-C reaches us alone and we stop things in order. Our environment is kept from
            # it: that may hold secrets, or PG* variables that would change the server.
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                [*under(self.account, self.stop_signal), *self.command()],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=CLEAN_ENVIRONMENT,
            )

    def wait_ready(self) -> None:
        """Return when the server answers. Raises ``ServerFailed`` when it ends or takes longer than ``start_timeout_s``."""
        deadline = time.monotonic() + self.start_timeout_s
        while not self.is_answering():
            if not self.is_running or time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"{self.name} did not start: {self.last_words()}")
            time.sleep(POLL_S)

    def start(self) -> None:
        """``launch`` and ``wait_ready``."""
        self.launch()
        self.wait_ready()

    def ask_to_stop(self) -> None:
        """Send the server its signal to stop in order, and return at once. Does nothing when it is not running."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(self.stop_signal)

    def stop(self, timeout_s: float = 10.0) -> None:
        """``ask_to_stop`` and wait; after ``timeout_s`` seconds it is killed."""
        if self._process is None:
            return
        self.ask_to_stop()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut would; children that outlive it for a moment are ended as well."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            end_processes_in(self.data, signal.SIGKILL)

    def last_words(self) -> str:
        """The end of the log in one line."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return " / ".join(line.strip() for line in lines[-3:]) or "it wrote no log"


def under(account: Account, at_death: signal.Signals) -> list[str]:
    """The words to put before a command so that it runs under ``account`` and gets ``at_death`` when this process dies."""
    numbers = (os.getpid(), account.uid, account.gid, int(at_death))
    return [sys.executable, "-I", "-S", str(_LAUNCHER), *map(str, numbers)]


def end_processes_in(folder: Path, number: signal.Signals, timeout_s: float = 10.0) -> None:
    """End every process whose working folder is ``folder``: what a killed runner or server left behind. Returns when all are gone.

    The servers sit in their data folder, so this can hit nothing else; a recorded process id could by now belong to another program,
    or to a dead process that nobody has waited for.
    """
    deadline = time.monotonic() + timeout_s
    found = _processes_in(folder)
    for process in found:
        _signal(process, number)
    while left := [*_processes_in(folder), *filter(_is_ending, found)]:
        if time.monotonic() > deadline:
            for process in left:
                _signal(process, signal.SIGKILL)
        time.sleep(POLL_S)


def _processes_in(folder: Path) -> list[psutil.Process]:
    place = str(folder.resolve())
    return [process for process in psutil.process_iter() if _folder_of(process) == place]


def _folder_of(process: psutil.Process) -> str | None:
    """None for one that is gone, or not ours to look at."""
    try:
        return process.cwd()
    except psutil.Error:
        return None


def _is_ending(process: psutil.Process) -> bool:
    """Whether any thread of it is left: a process that ends leaves its folder first, and its main thread may end before the others."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
