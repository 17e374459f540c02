"""What webhooks provide to the application."""

from collections.abc import Mapping
from typing import Any, Protocol

from app.builtin.jobs.repository import WebhookSending
from app.builtin.jobs.service.store import PostgresJobStore
from app.builtin.jobs.service.webhook_deliverer import Deliverer
from app.builtin.jobs.service.webhook_hosts import WebhookHosts
from app.builtin.jobs.service.webhook_queue import WebhookFollower, WebhookQueue
from app.builtin.jobs.service.webhook_sender import WebhookSender
from app.builtin.jobs.service.webhook_urls import WebhookUrls
from app.builtin.jobs.service.webhooks import WebhookDesk
from app.core.http import Platform
from app.core.jobs import JobQueue


class WebhookSettings(Protocol):
    """The settings that webhooks read."""

    webhooks_http: bool
    webhooks_private: bool
    concurrency: int


def provide_webhooks(
    platform: Platform, settings: WebhookSettings, store: PostgresJobStore, queue: JobQueue
) -> Mapping[type[Any], Any]:
    """The desk of webhooks, what sends, and what follows the ends of jobs."""
    clock, sends = platform.clock, WebhookQueue(queue)
    urls = WebhookUrls(allow_http=settings.webhooks_http, allow_private=settings.webhooks_private)
    sender = WebhookSender(clock, allow_private=settings.webhooks_private)
    platform.on_stop.append(sender.close)
    store.followers.append(WebhookFollower(sends, clock))
    log = WebhookSending(platform.database)
    hosts = WebhookHosts(clock, places=settings.concurrency)
    return {
        WebhookDesk: WebhookDesk(urls, sends, clock),
        Deliverer: Deliverer(log, sender, urls=urls, hosts=hosts, clock=clock),
    }
