"""Sends one message: looks whether it may, tries once, notes how it went, and says when it is to be tried again."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx2
import structlog

from app.builtin.jobs.repository import Sending, WebhookSending
from app.builtin.jobs.service.webhook_hosts import WebhookHosts
from app.builtin.jobs.service.webhook_sender import Answer, WebhookSender
from app.builtin.jobs.service.webhook_urls import WebhookUrls
from app.core.errors import Unprocessable
from app.core.jobs import AttemptFailed, JobFailed
from app.core.resilience import Clock, Leave

_log = structlog.get_logger(__name__)
_GONE = 410
LONGEST = timedelta(days=1)
"""So long is a message tried, however often its host was left alone meanwhile."""


class Deliverer:
    """What ``deliver_webhook`` does. A process that dies in the middle leaves a try without an end. The message is sent again then, with
    the same id, by which the other side knows it.
    """

    def __init__(
        self,
        log: WebhookSending,
        sender: WebhookSender,
        *,
        urls: WebhookUrls,
        hosts: WebhookHosts,
        clock: Clock,
    ) -> None:
        self._log = log
        self._sender = sender
        self._urls = urls
        self._hosts = hosts
        self._clock = clock

    async def deliver(self, delivery_id: UUID, run_id: UUID) -> None:
        """Send it, unless that is done or another run's. Raises AttemptFailed to be run again, JobFailed when that is of no use, and
        PolicyRejected while the host is left alone, or has as many calls as one host may.
        """
        sending = await self._log.load(delivery_id)
        if sending is None or sending.status == "delivered" or sending.run_id != run_id:
            return
        url = self._url(sending)
        with self._hosts.call(f"{url.host}:{url.port or url.scheme}") as leave:
            number = await self._log.begin(delivery_id, run_id)
            if number is None:
                return
            answer = await self._send(delivery_id, number, sending, url)
            _judge(leave, answer)
        await self._conclude(delivery_id, url, number, answer)

    def _url(self, sending: Sending) -> httpx2.URL:
        if not sending.is_active:
            raise JobFailed("The webhook is not active.")
        if datetime.fromtimestamp(self._clock.time(), UTC) - sending.queued_at > LONGEST:
            raise JobFailed("The message is too old.")
        try:
            return self._urls.parse(sending.url)
        except Unprocessable as error:  # The rules have become stricter since.
            raise JobFailed("The webhook's URL is not allowed any more.") from error

    async def _send(self, delivery_id: UUID, number: int, sending: Sending, url: httpx2.URL) -> Answer:
        secrets = sending.secrets(datetime.fromtimestamp(self._clock.time(), UTC))
        answer = await self._sender.send(url, str(delivery_id), sending.body.encode(), secrets)
        await self._log.end(
            delivery_id,
            number,
            http_status=answer.status,
            error=answer.error,
            duration_ms=answer.duration_ms,
            arrived=answer.is_good,
        )
        return answer

    async def _conclude(self, delivery_id: UUID, url: httpx2.URL, number: int, answer: Answer) -> None:
        _log.info(
            "webhook.sent",
            delivery=str(delivery_id),
            host=url.host,
            attempt=number,
            status=answer.status,
            error=answer.error,
            duration_ms=answer.duration_ms,
        )
        if answer.is_good:
            return
        if answer.status == _GONE:
            await self._log.disable(delivery_id, "It answered 410 Gone.")
            raise JobFailed("The webhook is gone (HTTP 410).")
        raise AttemptFailed(f"The webhook failed: {answer.words}.", retry_after_s=answer.retry_after_s)


def _judge(leave: Leave, answer: Answer) -> None:
    if answer.is_unwell:
        leave.failed()
    else:
        leave.succeeded()
