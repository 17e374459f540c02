"""What people do with jobs: end them, or have them run again. The row is locked before (``JobViews.lock``)."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.jobs.repository.ends import ENDED_COLUMNS, ended_of
from app.builtin.jobs.repository.rows import OWN_S
from app.core.db import translate_errors
from app.core.jobs import Due, EndedJob, parcel_of

_CANCEL = text(f"""
UPDATE jobs j SET status = 'cancelled', finished_at = clock_timestamp(), publish_at = NULL, cancel_requested_at = clock_timestamp()
WHERE id = :id AND status = 'queued' RETURNING {ENDED_COLUMNS}
""")  # noqa: S608 - a constant of this package
_ASK_TO_END = text("""
UPDATE jobs SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()) WHERE id = :id AND status = 'running'
""")
# As new, but for its id, its submitter and its place in lists. ``own_s`` as for a new one: its own process publishes it.
_RUN_AGAIN = text("""
UPDATE jobs SET status = 'queued', attempts = 0, progress = NULL, note = NULL, result = NULL, error = NULL, cost_micro = NULL,
    cancel_requested_at = NULL, started_at = NULL, finished_at = NULL, published_at = NULL, run_at = clock_timestamp(),
    publish_at = clock_timestamp() + make_interval(secs => :own_s)
WHERE id = :id AND status IN ('failed', 'dead', 'cancelled') RETURNING id, queue, priority, publish_at
""")


class JobChanges:
    """Changes of single jobs, in one session. Raises our database errors."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def cancel_queued(self, job_id: UUID) -> list[EndedJob]:
        """End one that is queued."""
        with translate_errors():
            return ended_of(await self._session.execute(_CANCEL, {"id": job_id}))

    async def ask_to_end(self, job_id: UUID) -> None:
        """Have its worker end one that runs, with its next sign of life."""
        with translate_errors():
            await self._session.execute(_ASK_TO_END, {"id": job_id})

    async def run_again(self, job_id: UUID, *, own_s: float = OWN_S) -> Due:
        """Queue one that has failed or was cancelled, as if it were new. Raises ConstraintViolated (409) while another of its unique key
        is open.
        """
        with translate_errors():
            row = (await self._session.execute(_RUN_AGAIN, {"id": job_id, "own_s": own_s})).one()
        return Due(row.id, parcel_of(row.id, row.queue, row.priority), row.publish_at)
