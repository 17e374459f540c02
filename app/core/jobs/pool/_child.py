"""A process of the pool, from the inside: does one job after the other, and says over its socket how each goes."""

import contextlib
import fcntl
import json
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import traceback
from contextvars import copy_context
from importlib import import_module
from typing import Any, NamedTuple

from app.core.context import RequestContext, set_context
from app.core.errors import ConfigurationError
from app.core.jobs._errors import JobFailed, JobRejected
from app.core.jobs._job import Job
from app.core.jobs._records import ClaimedJob
from app.core.jobs._run import JobRun
from app.core.jobs.pool._child_reports import ChildReports
from app.core.jobs.pool._frames import FAILED, NO_RESULT, READY, REFUSED, REPORT, RESULT, frame, read_frame
from app.core.observability import LogManner, configure_logging

WORKERS_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
"""Sent to a whole group or service when it is stopped. What becomes of a job then is for the worker to say."""
_LONGEST_TRACEBACK = 16_000


class Manner(NamedTuple):
    """How a process behaves. ``nice``: added to the worker's own. ``modules``: imported first. ``log``: as the worker does."""

    nice: int
    modules: tuple[str, ...]
    log: LogManner


def main(link: socket.socket, manner: Manner) -> None:
    """Do jobs until the worker closes the other end of ``link``; never returns."""
    _settle(link, manner)
    for module in manner.modules:
        with contextlib.suppress(Exception):  # The job that needs it says what is wrong.
            import_module(module)
    voice = _Voice(link)
    voice.say(READY)
    with link.makefile("rb") as requests:
        while (request := read_frame(requests)) is not None:
            place, claimed = pickle.loads(request[1])  # noqa: S301 - the worker's own, over a socket that only it has
            voice.say(*copy_context().run(_do, place, claimed, voice))
    _leave()


class _Voice:
    """Says one thing at a time, whichever thread wants to."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._lock = threading.Lock()

    def say(self, kind: bytes, body: bytes = b"") -> None:
        """Send it whole. Without the worker there is nobody to work for, so the process ends."""
        try:
            with self._lock:
                self._link.sendall(frame(kind, body))
        except OSError:
            if self._link.fileno() != -1:  # else this is a process that a job forked, which has no say
                _leave()


def _do(place: str, claimed: ClaimedJob, voice: _Voice) -> tuple[bytes, bytes]:
    """One attempt at one job: what to answer."""
    reports = ChildReports(lambda said: voice.say(REPORT, said))
    try:
        job = find_job(place, claimed.name)
        _enter(job, claimed)
        arguments = job.unpack(claimed.arguments)
        result = job.pack_result(job.work_here(arguments, JobRun(claimed, reports)))
    except (JobFailed, JobRejected) as error:
        kind = JobFailed if isinstance(error, JobFailed) else JobRejected
        return REFUSED, json.dumps([kind.__name__, error.detail]).encode()
    except BaseException as error:  # noqa: BLE001 - the outermost frame of a job; sys.exit() ends the job and not the process
        words = traceback.format_exc()[-_LONGEST_TRACEBACK:]
        return FAILED, json.dumps([type(error).__name__, words]).encode()
    finally:
        reports.close()
    return (NO_RESULT, b"") if result is None else (RESULT, result)


def find_job(place: str, name: str) -> Job[Any]:
    """The job that is declared at ``module:name``. Raises ConfigurationError when there is none, or one of another name."""
    module, _, path = place.partition(":")
    found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, Job) or found.name != name:
        raise ConfigurationError(
            f"A process of the pool does not find the job {name} at {place}: declare it at the top of a module that can be imported, "
            "under the function's own name"
        )
    return found


def _enter(job: Job[Any], claimed: ClaimedJob) -> None:
    """What the job logs says whose it is."""
    by = claimed.submitter
    set_context(
        RequestContext(
            request_id=str(claimed.id),
            policy=job.policy,
            principal=by,
            tenant_id=by.tenant_id if by else None,
            user_id=by.id if by else None,
            traceparent=claimed.traceparent,
        )
    )


def _settle(link: socket.socket, manner: Manner) -> None:
    os.setpgid(0, 0)  # so that what a job has started can be ended with it
    os.nice(manner.nice)
    for (
        number
    ) in WORKERS_SIGNALS:  # A handler and not SIG_IGN, which programs that a job starts would inherit.
        signal.signal(number, _leave_it_to_the_worker)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WORKERS_SIGNALS)
    _end_with_the_worker()
    # A process that a job forks must not keep the socket open: its end is how the worker hears that this one is dead.
    os.register_at_fork(after_in_child=lambda: os.close(link.detach()))
    os.dup2(2, 1)  # Standard output is the worker's.
    configure_logging(*manner.log)


def _leave_it_to_the_worker(*_: object) -> None:
    """See WORKERS_SIGNALS."""


def _end_with_the_worker() -> None:
    """Have the kernel kill this process, and what it started, when the worker is gone; even in the middle of a calculation that lets no
    other thread run.

    The usual PR_SET_PDEATHSIG would do nothing: the parent is the server of processes, and lives while its children do. But the worker
    alone holds the other end of the pipe by which multiprocessing shows its death, and a pipe can announce its events by a signal
    (fcntl(2), F_SETSIG). Elsewhere than on Linux the process ends with its job.
    """
    worker = multiprocessing.parent_process()
    if sys.platform != "linux" or worker is None:
        return
    pipe = worker.sentinel
    fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)


def _leave() -> None:
    """End at once, whatever threads and processes jobs have left behind."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os.killpg(0, signal.SIGKILL)
