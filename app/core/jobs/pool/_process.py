"""One process of the pool, as the worker sees it."""

import asyncio
import contextlib
import json
import multiprocessing
import os
import pickle
import signal
import socket
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, cast

import structlog

from app.core.jobs._errors import HandlerFailed, JobFailed, JobRejected
from app.core.jobs._job import Job
from app.core.jobs._records import ClaimedJob
from app.core.jobs._run import Reports
from app.core.jobs.pool._child import Manner, main
from app.core.jobs.pool._frames import FAILED, JOB, READY, REFUSED, REPORT, RESULT, frame, frames_in

_log = structlog.get_logger(__name__)
_REFUSALS = {kind.__name__: kind for kind in (JobFailed, JobRejected)}
CONTEXT: ForkServerContext | SpawnContext = (
    multiprocessing.get_context("forkserver")
    if "forkserver" in multiprocessing.get_all_start_methods()
    else multiprocessing.get_context("spawn")
)
"""A copy of a process that has imported the jobs already, never of the worker, which has threads, sockets and locks."""


class PoolProcess(asyncio.Protocol):
    """Does one job at a time. ``ready``: it has imported the jobs. ``ended``: it is of no more use. ``was_ended``: because we ended it."""

    def __init__(self, process: BaseProcess) -> None:
        self.pid = process.pid or 0
        self.jobs = 0
        self.ended = asyncio.Event()
        self.was_ended = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._process = process
        self._leads_group = False
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._reports: Reports | None = None

    async def run(self, job: Job[Any], claimed: ClaimedJob, reports: Reports) -> bytes | None:
        """As ``ProcessPool.run``."""
        self.jobs += 1
        self._answer, self._reports = asyncio.get_running_loop().create_future(), reports
        self._send(frame(JOB, pickle.dumps((job.place, claimed))))
        try:
            kind, body = await self._answer
        except asyncio.CancelledError:
            self.kill()
            raise
        except HandlerFailed:
            _log.error(
                "job.process_died",
                job=claimed.name,
                job_id=str(claimed.id),
                attempt=claimed.attempt,
                pid=self.pid,
            )
            raise
        finally:
            self._answer = self._reports = None
        return _outcome(kind, body, claimed)

    def close(self) -> None:
        """Tell it to end, which it does when it has nothing to do."""
        self.was_ended = True
        if self._transport is not None:
            self._transport.close()

    def kill(self) -> None:
        """End it now, and what its job has started."""
        if not self.ended.is_set():
            self.was_ended = True
            self._end()

    def kill_at_exit(self) -> None:
        """As ``kill``, when the loop is no more."""
        if not self.ended.is_set():
            self._signal()

    def bury(self, limit_s: float) -> int | None:
        """Wait for its end, and if it does not end in time, kill it; its exit code. Blocks: call it in a thread, as the last thing."""
        self._process.join(limit_s)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join(limit_s)
        code = self._process.exitcode
        if code is not None:
            self._process.close()
        return code

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of asyncio."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are of no class of asyncio

    def data_received(self, data: bytes) -> None:
        """Of asyncio."""
        self._received += data
        for kind, body in frames_in(self._received):
            self._hear(kind, body)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """Of asyncio: it has ended, or is told to."""
        if not self.was_ended:
            self._end()
        self.ended.set()
        for waiting in (self.ready, self._answer):
            if waiting is not None and not waiting.done():
                waiting.set_exception(HandlerFailed("ProcessDied"))

    def _end(self) -> None:
        self._signal()
        self.ended.set()
        if self._transport is not None:
            self._transport.abort()

    def _signal(self) -> None:
        """Its number is its own as long as nobody has buried it, or anything of its group lives."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._leads_group:
                os.killpg(self.pid, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)

    def _send(self, message: bytes) -> None:
        assert self._transport is not None  # noqa: S101 - it is ready
        self._transport.write(message)

    def _hear(self, kind: bytes, body: bytes) -> None:
        if kind == READY:
            self._leads_group = True
            if not self.ready.done():
                self.ready.set_result(None)
        elif kind == REPORT:
            _pass_on(body, self._reports)
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result((kind, body))


def launch(manner: Manner) -> tuple[BaseProcess, socket.socket]:
    """Start a process; our end of the socket to it. Blocks: call it in a thread. Raises OSError, EOFError when the system has no place."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = CONTEXT.Process(target=main, args=(theirs, manner), name="job-process")
            process.start()
        except BaseException:
            ours.close()
            raise
    ours.setblocking(False)
    return process, ours


def _pass_on(said: bytes, reports: Reports | None) -> None:
    if reports is None:
        return
    fraction, note, cost = json.loads(said)
    if fraction is not None:
        reports.progress(fraction, note)
    if cost is not None:
        reports.cost(cost)


def _outcome(kind: bytes, body: bytes, claimed: ClaimedJob) -> bytes | None:
    if kind == REFUSED:
        name, detail = json.loads(body)
        raise _REFUSALS[name](detail)
    if kind == FAILED:
        name, words = json.loads(body)
        _log.error(
            "job.failed_in_process",
            job=claimed.name,
            job_id=str(claimed.id),
            attempt=claimed.attempt,
            error=name,
            exception=words,
        )
        raise HandlerFailed(name)
    return body if kind == RESULT else None
