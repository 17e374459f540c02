"""What the job that sends reads and writes, each in a transaction of its own: none is open while the other side takes its time."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select

from app.builtin.jobs.models import WebhookDelivery, WebhookEndpoint
from app.core.db import Database, translate_errors

# One that has failed is sent if its job runs: somebody had it run again. A try that comes too late, after the job's end, sends nothing.
_BEGIN = """
WITH taken AS (
    UPDATE webhook_deliveries SET attempts = attempts + 1, status = 'pending', finished_at = NULL
    WHERE id = $1 AND run_id = $2 AND CASE status
        WHEN 'pending' THEN true WHEN 'failed' THEN EXISTS (SELECT FROM jobs WHERE id = $2 AND status = 'running') ELSE false END
    RETURNING id, attempts
)
INSERT INTO webhook_attempts (delivery_id, number) SELECT id, attempts FROM taken RETURNING number
"""
# One that has arrived stays so, whatever a try that was taken for dead says later.
_END = """
WITH noted AS (
    UPDATE webhook_attempts SET http_status = $3, error = $4, duration_ms = $5 WHERE delivery_id = $1 AND number = $2
), arrived AS (
    UPDATE webhook_deliveries SET status = 'delivered', finished_at = clock_timestamp()
    WHERE id = $1 AND $6 AND status <> 'delivered' RETURNING endpoint_id
)
UPDATE webhook_endpoints SET failed_at = NULL, failure = NULL WHERE id IN (SELECT endpoint_id FROM arrived) AND failed_at IS NOT NULL
"""
_DISABLE = """
UPDATE webhook_endpoints e SET is_active = false, disabled_reason = $2 FROM webhook_deliveries d WHERE d.id = $1 AND e.id = d.endpoint_id
"""


class Sending(NamedTuple):
    """A message and where it goes. ``secrets``: those that sign it, newest first."""

    run_id: UUID
    status: str
    event: str
    body: str
    queued_at: datetime
    url: str
    is_active: bool
    secret: str
    former_secret: str | None
    former_until: datetime | None

    def secrets(self, now: datetime) -> list[str]:
        """Those that sign it at this time, newest first."""
        is_kept = self.former_secret is not None and self.former_until is not None and now < self.former_until
        return [self.secret, self.former_secret] if is_kept and self.former_secret else [self.secret]

    def __repr__(self) -> str:
        return f"<Sending {self.event}>"


class WebhookSending:
    """The log of one sender."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, delivery_id: UUID) -> Sending | None:
        """What is to be sent; None when its webhook was deleted meanwhile."""
        query = (
            select(
                WebhookDelivery.run_id,
                WebhookDelivery.status,
                WebhookDelivery.event,
                WebhookDelivery.body,
                WebhookDelivery.queued_at,
                WebhookEndpoint.url,
                WebhookEndpoint.is_active,
                WebhookEndpoint.secret,
                WebhookEndpoint.former_secret,
                WebhookEndpoint.former_until,
            )
            .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
            .where(WebhookDelivery.id == delivery_id)
        )
        with translate_errors():
            async with self._database.session() as session:
                row = (await session.execute(query)).one_or_none()
        return None if row is None else Sending._make(row)

    async def begin(self, delivery_id: UUID, run_id: UUID) -> int | None:
        """A try is made; its number. None: it is done, or another run's."""
        rows = await self._database.fetch(_BEGIN, delivery_id, run_id)
        return int(rows[0][0]) if rows else None

    async def end(
        self,
        delivery_id: UUID,
        number: int,
        *,
        http_status: int | None,
        error: str | None,
        duration_ms: int,
        arrived: bool,
    ) -> None:
        """How the try went; ``arrived`` ends the delivery."""
        await self._database.fetch(_END, delivery_id, number, http_status, error, duration_ms, arrived)

    async def disable(self, delivery_id: UUID, reason: str) -> None:
        """The webhook of this delivery gets nothing any more."""
        await self._database.fetch(_DISABLE, delivery_id, reason)
