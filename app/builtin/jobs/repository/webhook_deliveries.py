"""Reads and writes what was sent to webhooks, in the session of whoever asks."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.jobs.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from app.core.db import translate_errors

# The end is the row's own: whoever looks at the same end again adds nothing.
_TELL = text("""
INSERT INTO webhook_deliveries (id, endpoint_id, job_id, ended_at, event, body, run_id, queued_at)
SELECT CAST(:delivery_id AS uuid), e.id, j.id, coalesce(j.finished_at, j.created_at), :event, :body, CAST(:run_id AS uuid), :at
FROM jobs j JOIN webhook_endpoints e ON e.id = j.webhook_id
WHERE j.id = :job_id AND e.is_active AND (j.owner IS NULL OR j.owner = e.owner)
ON CONFLICT DO NOTHING RETURNING endpoint_id
""")
_GIVE_UP = text("""
WITH over AS (
    UPDATE webhook_deliveries SET status = 'failed', finished_at = clock_timestamp()
    WHERE run_id = ANY(:runs) AND status = 'pending' RETURNING id, endpoint_id, attempts
), last AS (
    SELECT DISTINCT ON (o.endpoint_id) o.endpoint_id, coalesce(a.error, 'HTTP ' || a.http_status, 'not sent') AS words
    FROM over o LEFT JOIN webhook_attempts a ON a.delivery_id = o.id AND a.number = o.attempts ORDER BY o.endpoint_id, o.id DESC
)
UPDATE webhook_endpoints e SET failed_at = clock_timestamp(), failure = last.words FROM last WHERE e.id = last.endpoint_id
""")
_PURGE = text("""
WITH old AS (
    SELECT id FROM webhook_deliveries WHERE finished_at < now() - make_interval(days => :keep_days)
    ORDER BY finished_at LIMIT :most FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM webhook_deliveries WHERE id IN (SELECT id FROM old) RETURNING 1
)
SELECT count(*) FROM gone
""")


class End(NamedTuple):
    """The end of a job, as it is to be told: ``delivery_id`` and ``run_id`` are new, ``at`` is when it was queued."""

    delivery_id: UUID
    run_id: UUID
    job_id: UUID
    event: str
    body: str
    at: datetime


async def tell_of_end(session: AsyncSession, end: End) -> UUID | None:
    """A delivery of the end that the job's row shows, to the webhook that it names; which. None: it was told already, or nobody listens."""
    with translate_errors():
        found: UUID | None = await session.scalar(_TELL, end._asdict())
    return found


async def give_up(session: AsyncSession, runs: Sequence[UUID]) -> None:
    """The jobs that were to send these have ended without: their deliveries have failed, and their webhooks say why."""
    with translate_errors():
        await session.execute(_GIVE_UP, {"runs": list(runs)})


async def purge_deliveries(session: AsyncSession, keep_days: int, most: int) -> int:
    """Delete up to ``most`` deliveries that ended more than ``keep_days`` days ago, the oldest first, with their attempts; how many. What
    is pending stays.
    """
    with translate_errors():
        return await session.scalar(_PURGE, {"keep_days": keep_days, "most": most}) or 0


class WebhookDeliveries:
    """Deliveries in one database session. Nothing is committed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, delivery: WebhookDelivery) -> None:
        """Insert it; its times are there afterwards."""
        with translate_errors():
            self._session.add(delivery)
            await self._session.flush()
            await self._session.refresh(delivery)

    async def page(self, endpoint_id: UUID, *, before: UUID | None, most: int) -> Sequence[WebhookDelivery]:
        """Those to one webhook, newest first; those that are older than the delivery ``before``."""
        query = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id)
        if before is not None:
            query = query.where(WebhookDelivery.id < before)
        with translate_errors():
            return (await self._session.scalars(query.order_by(WebhookDelivery.id.desc()).limit(most))).all()

    async def of_job(self, endpoint_id: UUID, job_id: UUID) -> Sequence[WebhookDelivery]:
        """What that webhook was told of a job's ends, in order; at most 100."""
        told = (WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.job_id == job_id)
        query = select(WebhookDelivery).where(*told).order_by(WebhookDelivery.id).limit(100)
        with translate_errors():
            return (await self._session.scalars(query)).all()

    async def attempts(self, delivery_ids: Sequence[UUID]) -> Sequence[WebhookAttempt]:
        """Every try at these, in order."""
        query = select(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(delivery_ids))
        with translate_errors():
            return (
                await self._session.scalars(query.order_by(WebhookAttempt.delivery_id, WebhookAttempt.number))
            ).all()

    async def locked(self, owner: str, delivery_id: UUID) -> tuple[WebhookDelivery, WebhookEndpoint] | None:
        """One of this owner's with where it goes; others who want to change it wait for us."""
        query = (
            select(WebhookDelivery, WebhookEndpoint)
            .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
            .where(WebhookDelivery.id == delivery_id, WebhookEndpoint.owner == owner)
            .with_for_update(of=WebhookDelivery)
            .execution_options(populate_existing=True)
        )
        with translate_errors():
            row = (await self._session.execute(query)).one_or_none()
        return None if row is None else (row[0], row[1])

    async def flush(self) -> None:
        """Write what was changed."""
        with translate_errors():
            await self._session.flush()
