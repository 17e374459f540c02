"""One `make run` as a real process, and what it leaves behind."""

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from app.dev import Account
from tests.nursery import CHECKOUT, Child, start

_NOT_NEEDED = shutil.ignore_patterns(
    "site-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "lib2to3",
    "ensurepip",
    "config-*",
    "*.opt-?.pyc",
    "mypy*",
    "*mypyc*",
    "ruff*",
    "pip",
    "setuptools",
    "schemathesis",
    "playwright",
    "hypothesis",
)
SCRIPT, MODULE = "tests/dev/runner_process.py", "tests.dev.runner_process"
# More than the runner itself waits for its servers and then its programs (30 s each and 60 s): what it says then is worth more than ours.
TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Program:
    """Which interpreter runs which checkout, with which folders to import from."""

    checkout: Path
    python: Path
    path: tuple[Path, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def readable_program(uid: int) -> Iterator[Program]:
    """The checkout, interpreter and packages for another user: themselves, or copies of those where that user may not go."""
    account = Account(uid, pwd.getpwuid(uid).pw_gid)
    packages = Path(sysconfig.get_path("purelib"))
    with tempfile.TemporaryDirectory(prefix="gatehouse-copy-") as folder:
        copy = Path(folder)
        copy.chmod(0o755)
        checkout = CHECKOUT if account.can_reach(CHECKOUT) else _copied_checkout(copy)
        if not account.can_reach(packages):
            packages = _linked(packages, copy / "packages")
        if all(account.can_reach(Path(place)) for place in (sys.prefix, sys.base_prefix)):
            yield Program(checkout, Path(sys.executable), (checkout, packages))
            return
        environment = {"LD_LIBRARY_PATH": str(copy / "lib")}
        yield Program(checkout, _copied_interpreter(copy), (checkout, packages), environment)


def _copied_checkout(copy: Path) -> Path:
    for name in ("app", "alembic", "tests"):
        shutil.copytree(CHECKOUT / name, copy / name)
    return copy


def _copied_interpreter(copy: Path) -> Path:
    """It finds its library by its own place: bin/ beside lib/."""
    base = Path(sys.base_prefix)
    library = Path("lib", f"python{sys.version_info.major}.{sys.version_info.minor}")
    _linked(base / library, copy / library)
    (copy / "bin").mkdir()
    shutil.copy(Path(sys.executable).resolve(), copy / "bin" / "python3")
    for shared in (base / "lib").glob("libpython*.so*"):
        shutil.copy(shared, copy / "lib")
    return copy / "bin" / "python3"


def _linked(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, ignore=_NOT_NEEDED, copy_function=link_or_copy)
    return target


class Run:
    """A runner of ``clone``; use as a context manager, so that a failing test leaves nothing.

    With the real API, another program or for another user, an interpreter is started for it as ``make`` does; else it is a copy
    of one that has imported the runner already.
    """

    def __init__(
        self,
        clone: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        program: Program | None = None,
        uid: int | None = None,
    ) -> None:
        self.clone = clone
        self._output = tempfile.NamedTemporaryFile("w+b")  # noqa: SIM115 - closed with the run
        self._errors = tempfile.NamedTemporaryFile("w+b")  # noqa: SIM115 - closed with the run
        self.family: list[psutil.Process] = []
        changes = {"PATH": os.defpath, "PORT": "0", **(environment or {})}
        is_plain = program is None and uid is None and "--real" not in arguments
        if is_plain:
            self.process: Child | subprocess.Popen[bytes] = start(
                MODULE, str(clone), *arguments, environment=changes,
                stdout=self._output.fileno(), stderr=self._errors.fileno(),
            )  # fmt: skip
            return
        program = program or Program(CHECKOUT, Path(sys.executable), (CHECKOUT,))
        self.process = subprocess.Popen(
            [str(program.python), str(program.checkout / SCRIPT), str(clone), *arguments],
            cwd=program.checkout,
            env={
                "PYTHONPATH": os.pathsep.join(map(str, program.path)),
                **program.environment,
                **changes,
            },
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._errors,
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remember_family()
        for process in self.family:
            kill(process)
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        self._output.close()
        self._errors.close()

    @property
    def output(self) -> str:
        return Path(self._output.name).read_text()

    @property
    def errors(self) -> str:
        return Path(self._errors.name).read_text()

    def wait_running(self) -> Self:
        deadline = time.monotonic() + TIMEOUT_S
        while "Gatehouse is running" not in self.output:
            assert self.process.poll() is None, self.errors
            assert time.monotonic() < deadline, self.errors
            time.sleep(0.01)
        self.remember_family()
        return self

    def remember_family(self) -> None:
        """Note all processes below the runner, to see later whether they are gone."""
        if psutil.pid_exists(self.process.pid):
            found = psutil.Process(self.process.pid).children(recursive=True)
            self.family = list({*self.family, *found})

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def send_until_it_ends(self, number: signal.Signals) -> None:
        """The signal again and again."""
        while self.process.poll() is None:
            self.send(number)
            time.sleep(0.01)

    def wait(self) -> int:
        return self.process.wait(TIMEOUT_S)

    def left_over(self, timeout_s: float = 10.0) -> list[psutil.Process]:
        """Processes of this run that are still there after ``timeout_s`` seconds."""
        return still_there(self.family, timeout_s)

    def member(self, name: str) -> psutil.Process:
        """A direct child by a part of its command line: postgres, valkey-server, standin."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if any(name in word for word in child.cmdline()))

    @property
    def values(self) -> dict[str, str]:
        """What `.local/env` says."""
        lines = (self.clone / ".local" / "env").read_text().splitlines()
        return dict(shlex.split(line.removeprefix("export "))[0].split("=", 1) for line in lines)


def still_there(processes: Sequence[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Those that are alive after ``timeout_s`` seconds; returns as soon as there are none."""
    deadline = time.monotonic() + timeout_s
    while left := [process for process in processes if is_alive(process)]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.01)
    return []


def link_or_copy(source: str, target: str) -> None:
    """A second name for the file costs nothing, where both are on one file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; a dead process that nobody has waited for does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
