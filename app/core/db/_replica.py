"""A replica that reads may go to, as long as it answers and is close enough behind its primary."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, ClassVar, LiteralString

import structlog
from sqlalchemy.engine import Engine
from sqlalchemy.util.concurrency import await_only

from app.core.db._database import Database
from app.core.db._database_status import ReplicaState, ReplicaStatus
from app.core.db._replica_server import ReplicaServer
from app.core.errors import ConfigurationError, GatehouseError
from app.core.observability import EventHub, ReplicaMeter
from app.core.resilience import Clock, Leave, SystemClock

# What was flushed is what a standby can have: behind it there may be records of no commit, for as long as nobody commits.
_POSITION: LiteralString = "SELECT pg_current_wal_flush_lsn()::text"
_STATE: LiteralString = (
    "SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn() >= $1::text::pg_lsn,"
    " extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8"
)
_LEAST_LAG_S = 0.001
_log = structlog.get_logger(__name__)


class Replica:
    """A standby of a database: ``Database(url, replica=Replica(replica_url))``. Transactions of its ``ReadSession`` then go here.

    They go to the primary while it is down, is more than ``max_lag_s`` seconds behind, or is no standby (promoted: its history may have
    left the one that is written to). That is judged by a probe, at most one a second and only while there are reads; they do not wait
    for it, unless what was found last is older than five seconds: then up to ``patience_s``. A replica that fails is left alone for one
    second, then for up to fifteen. The other options are ``Database``'s; ``application_name`` gets ``-replica`` at its end. Writes
    never come here. Raises ConfigurationError for numbers out of range.
    """

    EVERY_S: ClassVar[float] = 1.0
    TRUSTED_S: ClassVar[float] = 5.0

    def __init__(
        self,
        url: str,
        *,
        max_lag_s: float = 10.0,
        patience_s: float = 1.0,
        application_name: str = "gatehouse",
        hub: EventHub | None = None,
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        if max_lag_s < 0 or patience_s <= 0:
            raise ConfigurationError("a replica needs max_lag_s >= 0 and patience_s > 0")
        name = f"{application_name}-replica"
        self._server = ReplicaServer(
            url, on_lost=self._lose, application_name=name, hub=hub, clock=clock, **options
        )
        # Not from the pool: long reads that hold all of its connections do not mean that it is down.
        self._prober = ReplicaServer(
            url, application_name=f"{name}-probe", pool_size=1, max_overflow=0, statement_timeout_s=patience_s
        )
        self._meter = ReplicaMeter(name)
        self._clock = clock or SystemClock()
        self._max_lag_s, self._patience_s = max_lag_s, patience_s
        self._name = name
        self._primary: Database | None = None
        self._position: str | None = None
        self._status = ReplicaStatus("unknown", None)
        self._asked_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Replica({self._server!r}, {self._status.state})"

    @property
    def database(self) -> Database:
        """Its own pool, for probes and administration."""
        return self._server

    @property
    def status(self) -> ReplicaStatus:
        """What was found last; asks nobody."""
        return self._status

    def attach(self, primary: Database) -> None:
        """Called by the database that it belongs to. Raises ConfigurationError for a second one: its lag is behind the first."""
        if self._primary is not None:
            raise ConfigurationError("A replica belongs to one database; make one for each")
        # Not from its pool either: a primary whose connections are all in use still commits, and is not away.
        self._primary = primary.lone(f"{self._name}-position", self._patience_s)

    def offer(self, *, is_fresh: bool) -> Engine | None:
        """Where a read goes that begins now; None: to the primary. Called in a greenlet."""
        reason = "fresh" if is_fresh else self._look()
        if reason == "close":
            return self._server.reading_engine.sync_engine
        self._meter.read("primary", reason)
        return None

    def reached(self) -> None:
        """A read has begun here."""
        self._meter.read("replica", "close")

    def lost(self, reason: str) -> None:
        """It could not be reached, and the primary was: nobody is sent here until it has answered again."""
        self._meter.read("primary", "down")
        self._lose(reason)

    def _lose(self, reason: str) -> None:
        if (leave := self._server.breaker.try_acquire()) is not None:
            leave.failed()
        self._judge(ReplicaStatus("down", None), reason)

    async def check(self) -> ReplicaStatus:
        """Ask now, unless it failed a moment ago; what was found. Never raises for the servers."""
        if (task := self._ask()) is not None:
            await asyncio.wait({task})
        return self._status

    async def close(self) -> None:
        """Close the connections; may be used again afterwards."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})
        if self._primary is not None:
            await self._primary.close()
        await self._prober.close()
        await self._server.close()

    def _look(self) -> ReplicaState:
        """What holds now, as far as it is known; a new probe is begun when it is due."""
        age = self._clock.monotonic() - self._asked_at
        if age < self.EVERY_S:
            return self._status.state
        task = self._ask()
        is_known = self._status.state not in ("unknown", "close") or age < self.TRUSTED_S
        if not is_known and task is not None:
            await_only(asyncio.wait({task}, timeout=self._patience_s))
            is_known = task.done()
        return self._status.state if is_known else "unknown"

    def _ask(self) -> asyncio.Task[None] | None:
        """The probe under way, or a new one; None: not now, it failed a moment ago."""
        loop, task = asyncio.get_running_loop(), self._task
        if task is not None and not task.done() and task.get_loop() is loop:
            return task
        leave = self._server.breaker.try_acquire()
        if leave is None:
            return None
        # In a context of its own: it is not a part of the request that happened to come first.
        self._task = loop.create_task(self._probe(leave), context=Context())
        return self._task

    async def _probe(self, leave: Leave) -> None:
        started, reason = self._clock.monotonic(), ""
        try:
            position = await self._primary_position()
            async with asyncio.timeout(self._patience_s):
                [(is_standby, has_all, behind_s)] = await self._prober.fetch(_STATE, position)
        except (GatehouseError, TimeoutError) as error:
            leave.failed()
            status, reason = ReplicaStatus("down", None), type(error).__name__
        except BaseException:
            leave.abandoned()
            raise
        else:
            leave.succeeded()
            status = judged(self._max_lag_s, is_standby=is_standby, has_all=has_all, behind_s=behind_s)
        self._asked_at = started
        self._judge(status, reason)

    async def _primary_position(self) -> str | None:
        """How far the primary is. While it does not answer, how far it was: nothing that we could know of was committed since."""
        if self._primary is not None:
            try:
                async with asyncio.timeout(self._patience_s):
                    [(self._position,)] = await self._primary.fetch(_POSITION)
            except (GatehouseError, TimeoutError) as error:
                _log.info("replica.primary_unknown", error=type(error).__name__)
        return self._position

    def _judge(self, status: ReplicaStatus, reason: str) -> None:
        former, self._status = self._status, status
        self._meter.tell(is_used=status.state == "close", lag_s=status.lag_s)
        if former.state != status.state:
            tell: Callable[..., Any] = _log.info if status.state == "close" else _log.warning
            tell("replica.changed", state=status.state, former=former.state, reason=reason or None)


def judged(
    max_lag_s: float, *, is_standby: bool, has_all: bool | None, behind_s: float | None
) -> ReplicaStatus:
    """What an answer means. ``has_all``: it has replayed all that the primary had when asked just before.

    If not, it is at most ``behind_s`` behind: the age of the last transaction that it replayed, by its own clock. That alone would say
    nothing while the primary is idle, and the position alone not by how much.
    """
    if not is_standby:
        return ReplicaStatus("no_standby", None)
    if has_all is None:
        return ReplicaStatus("unknown", None)
    if has_all:
        return ReplicaStatus("close", 0.0)
    if behind_s is None:
        return ReplicaStatus("behind", None)
    lag_s = max(behind_s, _LEAST_LAG_S)
    return ReplicaStatus("close" if lag_s <= max_lag_s else "behind", lag_s)
