"""Jobs for tests of the process pool: they must stand in a module, where its processes find them."""

import contextlib
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from pydantic import BaseModel

from app.core.context import current_context
from app.core.db import Database
from app.core.jobs import JobFailed, JobRun, job


class Order(BaseModel):
    do: str
    number: int = 0


class Page(BaseModel):
    text: str


@job("pool_order", queue="cpu", attempts=3)
def pool_order(arguments: Order, run: JobRun) -> Any:
    """Do as told."""
    return ORDERS[arguments.do](arguments.number, run)


@job("pool_echo")
def pool_echo(arguments: Page, run: JobRun) -> Page:
    return arguments


def _who(number: int, run: JobRun) -> Any:
    context = current_context()
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())) as output:
        structlog.get_logger(__name__).info("pool_jobs.who")
    return {
        "pid": os.getpid(),
        "nice": os.nice(0),
        "request_id": context.request_id,
        "traceparent": context.traceparent,
        "principal": context.principal.id if context.principal else None,
        "tenant": context.tenant_id,
        "attempt": run.attempt,
        "logged": output.buffer.getvalue().decode(),
        "output_is_errors": os.path.samestat(os.fstat(1), os.fstat(2)),
        "threads": os.environ["OPENBLAS_NUM_THREADS"],
        "kernel_threads": len(list(Path("/proc/self/task").iterdir())),
        "sockets": sum("socket:" in link for link in map(_link, Path("/proc/self/fd").iterdir())),
    }


def _link(file: Path) -> str:
    try:
        return str(file.readlink())
    except OSError:  # the one by which the folder was read
        return ""


def _steps(number: int, run: JobRun) -> int:
    """More than are told."""
    run.set_cost(5)
    for step in range(number + 1):
        run.progress(np.float64(step / number), f"step {step}")
    run.set_cost(7)
    return number


def _fail(number: int, run: JobRun) -> None:
    raise ValueError(f"not {number}, and password=hunter-twenty-two")


def _refuse(number: int, run: JobRun) -> None:
    raise JobFailed(f"There are no {number} planets.")


def _kill(number: int, run: JobRun) -> None:
    os.kill(os.getpid(), number)


def _spin(number: int, run: JobRun) -> None:
    """In C, without letting any other thread run."""
    run.progress(0.5, f"{os.getpid()}")
    sum(range(10**15))


def _leave_behind(number: int, run: JobRun) -> None:
    """Other processes, which are there still when this one ends."""
    forked = multiprocessing.get_context("fork").Process(target=signal.pause)
    forked.start()
    program = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"])
    run.progress(0.5, f"{forked.pid} {program.pid}")
    if number > 0:
        os._exit(number)
    if number == 0:
        signal.pause()


def _talk_on(number: int, run: JobRun) -> None:
    """A thread that reports after its job has ended."""
    threading.Timer(0.0, lambda: run.progress(0.9, "late")).start()


ORDERS: dict[str, Callable[[int, JobRun], Any]] = {
    "who": _who,
    "steps": _steps,
    "fail": _fail,
    "refuse": _refuse,
    "exit": lambda number, run: sys.exit(number),
    "die": lambda number, run: os._exit(number),
    "kill": _kill,
    "spin": _spin,
    "leave behind": _leave_behind,
    "talk on": _talk_on,
    "nothing": lambda number, run: None,
    "text": lambda number, run: "x" * number,
    "object": lambda number, run: object(),
    "provider": lambda number, run: run.require(Database),
}
