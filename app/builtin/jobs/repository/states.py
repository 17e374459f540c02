"""How jobs stand, for those who wait for them: many in one small statement."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from app.core.db import Database
from app.core.jobs import OPEN, Status

_STATES = "SELECT id, status, attempts, progress, note FROM jobs WHERE id = ANY($1::uuid[])"


class JobState(NamedTuple):
    """What changes of a job while somebody waits for it."""

    status: Status
    attempts: int
    progress: float | None
    note: str | None

    @property
    def is_open(self) -> bool:
        """Whether it is queued or running."""
        return self.status in OPEN


async def read_states(database: Database, ids: Sequence[UUID]) -> dict[UUID, JobState]:
    """The states of those of them that exist, as committed last."""
    rows = await database.fetch(_STATES, list(ids))
    return {row[0]: JobState(row[1], row[2], row[3], row[4]) for row in rows}
