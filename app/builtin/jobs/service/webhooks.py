"""What a caller does with his webhooks."""

import os
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from app.builtin.jobs.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from app.builtin.jobs.repository import WebhookDeliveries, WebhookEndpoints
from app.builtin.jobs.schemas import (
    AttemptOut,
    DeliveryOut,
    DeliveryPage,
    DeliveryQuery,
    WebhookCreate,
    WebhookCreated,
    WebhookList,
    WebhookOut,
)
from app.builtin.jobs.service.webhook_message import PING, message
from app.builtin.jobs.service.webhook_queue import WebhookQueue
from app.builtin.jobs.service.webhook_urls import WebhookUrls
from app.core.context import Principal
from app.core.db import AsyncSession
from app.core.errors import Conflict, EntityNotFoundError, Unprocessable
from app.core.resilience import Clock

MOST = 20
OVERLAP = timedelta(hours=24)


class WebhookDesk:
    """Requests about the caller's own webhooks, in the request's database session. One of somebody else does not exist (404)."""

    def __init__(self, urls: WebhookUrls, queue: WebhookQueue, clock: Clock) -> None:
        self._urls = urls
        self._queue = queue
        self._clock = clock

    async def create(self, db: AsyncSession, caller: Principal, asked: WebhookCreate) -> WebhookCreated:
        """A new one. Raises Unprocessable (422) for a URL that may not be called, Conflict (409) for more than 20."""
        url = await self._urls.check(asked.url)
        rows, secret = WebhookEndpoints(db), _new_secret()
        if await rows.count_locked(caller.id) >= MOST:
            raise Conflict(f"A user has at most {MOST} webhooks; delete one first.")
        endpoint = WebhookEndpoint(
            id=uuid7(), owner=caller.id, tenant_id=caller.tenant_id, url=url, secret=secret
        )
        await rows.add(endpoint)
        return WebhookCreated(**self._shown(endpoint).model_dump(), secret=secret)

    async def list(self, db: AsyncSession, caller: Principal) -> WebhookList:
        """All of the caller's."""
        return WebhookList(items=[self._shown(one) for one in await WebhookEndpoints(db).of(caller.id)])

    async def delete(self, db: AsyncSession, caller: Principal, endpoint_id: UUID) -> None:
        """It gets nothing any more, and what it got is forgotten. Raises EntityNotFoundError."""
        if not await WebhookEndpoints(db).delete(caller.id, endpoint_id):
            raise _nothing()

    async def rotate(self, db: AsyncSession, caller: Principal, endpoint_id: UUID) -> WebhookCreated:
        """A new secret; the last one signs beside it for 24 hours, one from before that no more. Raises EntityNotFoundError."""
        rows = WebhookEndpoints(db)
        endpoint = await rows.opened(caller.id, endpoint_id)
        if endpoint is None:
            raise _nothing()
        endpoint.former_secret, endpoint.former_until = endpoint.secret, self._now() + OVERLAP
        endpoint.secret = secret = _new_secret()
        await rows.flush()
        return WebhookCreated(**self._shown(endpoint).model_dump(), secret=secret)

    async def deliveries(
        self, db: AsyncSession, caller: Principal, endpoint_id: UUID, query: DeliveryQuery
    ) -> DeliveryPage:
        """What was sent to one, newest first. Raises EntityNotFoundError."""
        if await WebhookEndpoints(db).get(caller.id, endpoint_id) is None:
            raise _nothing()
        rows = WebhookDeliveries(db)
        found = await rows.page(endpoint_id, before=query.cursor, most=query.limit + 1)
        items, more = found[: query.limit], len(found) > query.limit
        tries = await rows.attempts([one.id for one in items])
        return DeliveryPage(
            items=[_sent(one, [each for each in tries if each.delivery_id == one.id]) for one in items],
            next_cursor=items[-1].id if more else None,
        )

    async def test(self, db: AsyncSession, caller: Principal, endpoint_id: UUID) -> DeliveryOut:
        """Send a ping. Raises EntityNotFoundError, and Conflict (409) for a webhook that is not active."""
        endpoint = await WebhookEndpoints(db).get(caller.id, endpoint_id)
        if endpoint is None:
            raise _nothing()
        _require_active(endpoint)
        delivery = WebhookDelivery(
            id=uuid7(), endpoint_id=endpoint_id, event=PING, run_id=uuid7(), queued_at=self._now()
        )
        delivery.body = message(delivery.id, PING, self._now(), {})
        await WebhookDeliveries(db).add(delivery)
        await self._queue.submit(db, delivery.id, delivery.run_id, endpoint_id)
        return _sent(delivery, [])

    async def retry(self, db: AsyncSession, caller: Principal, delivery_id: UUID) -> DeliveryOut:
        """Try a message again that was given up. Raises EntityNotFoundError, and Conflict (409) for another one, or a webhook that is not
        active.
        """
        rows = WebhookDeliveries(db)
        found = await rows.locked(caller.id, delivery_id)
        if found is None:
            raise EntityNotFoundError("The caller's webhooks have no such message.")
        delivery, endpoint = found
        _require_active(endpoint)
        if delivery.status != "failed":
            raise Conflict(f"Only a message that failed can be tried again; this one is {delivery.status}.")
        delivery.status, delivery.finished_at = "pending", None
        delivery.run_id, delivery.queued_at = uuid7(), self._now()
        await rows.flush()
        await self._queue.submit(db, delivery.id, delivery.run_id, endpoint.id)
        return _sent(delivery, await rows.attempts([delivery.id]))

    async def check(self, db: AsyncSession, caller: Principal, endpoint_id: UUID) -> None:
        """For whoever submits a job of the caller's. Raises Unprocessable (422) unless it is the caller's webhook, and active."""
        endpoint = await WebhookEndpoints(db).get(caller.id, endpoint_id)
        if endpoint is None or not endpoint.is_active:
            raise Unprocessable("webhook_id must be an active webhook of the caller's.")

    def _shown(self, endpoint: WebhookEndpoint) -> WebhookOut:
        until = endpoint.former_until
        return WebhookOut(
            id=endpoint.id,
            url=endpoint.url,
            is_active=endpoint.is_active,
            disabled_reason=endpoint.disabled_reason,
            created_at=endpoint.created_at,
            failed_at=endpoint.failed_at,
            failure=endpoint.failure,
            old_secret_until=until if until is not None and until > self._now() else None,
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)


def _sent(delivery: WebhookDelivery, tries: Sequence[WebhookAttempt]) -> DeliveryOut:
    return DeliveryOut(
        id=delivery.id,
        event=delivery.event,
        job_id=delivery.job_id,
        status=delivery.status,
        attempts=delivery.attempts,
        created_at=delivery.created_at,
        finished_at=delivery.finished_at,
        log=[
            AttemptOut(
                number=one.number,
                started_at=one.started_at,
                http_status=one.http_status,
                error=one.error,
                duration_ms=one.duration_ms,
            )
            for one in tries
        ],
    )


def _new_secret() -> str:
    return "whsec_" + b64encode(os.urandom(32)).decode()


def _nothing() -> EntityNotFoundError:
    return EntityNotFoundError("The caller has no such webhook.")


def _require_active(endpoint: WebhookEndpoint) -> None:
    if not endpoint.is_active:
        raise Conflict(f"This webhook is not active: {endpoint.disabled_reason} Make another.")
