"""All that works in a worker's process."""

import asyncio
from dataclasses import dataclass

import structlog

from app.core.db import Database, is_at_head
from app.core.errors import Unavailable
from app.core.jobs.periodic import PeriodicRunner
from app.core.jobs.pool import ProcessPool
from app.core.jobs.worker._worker import Worker
from app.core.resilience import doubled_pause

_LONGEST_PAUSE_S = 5.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Crew:
    """Periodic work, jobs, and processes for some of them (None: no job needs one), as one thing: ``start`` once, ``stop`` once."""

    periodic: PeriodicRunner
    worker: Worker
    pool: ProcessPool | None
    database: Database

    async def start(self) -> None:
        """Begin. Waits, and says for what, while the database is away or its schema behind."""
        if self.pool is not None:
            await self.pool.start()
        told, failures = "", 0
        while reason := await self._enter():
            if reason != told:
                _log.warning("worker.waiting", worker=self.worker.options.name, reason=reason)
            told, failures = reason, failures + 1
            await asyncio.sleep(doubled_pause(0.1, failures, _LONGEST_PAUSE_S))
        await self.periodic.start()

    async def _enter(self) -> str:
        """Begin to take jobs, or say why that cannot be yet."""
        try:
            if not await is_at_head(self.database):
                return "the database's schema is behind: run `python -m app migrations upgrade`"
            await self.worker.start()
        except Unavailable as error:
            return f"the database does not answer ({type(error).__name__})"
        return ""

    async def stop(self) -> None:
        """Begin nothing more, let jobs in work end, give back the rest."""
        await self.periodic.stop()
        await self.worker.stop()
        if self.pool is not None:
            await self.pool.stop()
