"""A database with a replica, for tests of what is read where."""

import asyncio
from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from app.core.db import Database, Replica, get_read_db_context
from app.core.resilience import ManualClock
from tests.standby import Pair

IN_RECOVERY = text("SELECT pg_is_in_recovery()")
NOTES = text("SELECT count(*) FROM notes")
PAUSE = "SELECT pg_wal_replay_pause()"
HOURS = 3600.0


class CountingReplica(Replica):
    """Counts its probes."""

    probes = 0

    async def _probe(self, leave: Any) -> None:
        self.probes += 1
        await super()._probe(leave)


class Bench:
    """A database with a replica, and the clock that the replica looks at."""

    def __init__(self, pair: Pair, *, primary: Any = None, **options: Any) -> None:
        self.clock = ManualClock()
        self.replica = CountingReplica(
            options.pop("url", None) or pair.standby.url(),
            clock=self.clock,
            **{"patience_s": 30.0, **options},
        )
        self.database = Database(pair.primary.url(), replica=self.replica, **(primary or {}))

    async def is_on_standby(self, **options: Any) -> bool:
        async with get_read_db_context(self.database, **options) as session:
            return bool(await session.scalar(IN_RECOVERY))

    async def count(self, **options: Any) -> int:
        async with get_read_db_context(self.database, **options) as session:
            return int(await session.scalar(NOTES) or 0)

    async def look(self) -> str:
        """What a new probe finds."""
        self.clock.advance(60)
        await asyncio.sleep(0)
        return (await self.replica.check()).state

    async def becomes(self, state: str) -> None:
        async with asyncio.timeout(60):
            while await self.look() != state:
                pass


Make = Callable[..., Bench]


async def behind(pair: Pair) -> None:
    """One note more on the primary than on the standby, which stays there."""
    await pair.on_standby(PAUSE)
    await pair.commit("INSERT INTO notes VALUES ('x')", is_shown=False)
