"""What jobs provide to the application."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from app.builtin.jobs.repository import read_states
from app.builtin.jobs.service.bulk_retry import BulkRetry
from app.builtin.jobs.service.charges import JobCharges
from app.builtin.jobs.service.desk import JobDesk
from app.builtin.jobs.service.queues import QueueDesk, QueueOptions
from app.builtin.jobs.service.store import PostgresJobStore
from app.builtin.jobs.service.waits import JobWaits
from app.builtin.jobs.service.watch import JobWatch
from app.builtin.jobs.service.webhook_provide import WebhookSettings, provide_webhooks
from app.core.http import Platform
from app.core.jobs import Catalog, JobBroker, JobQueue, JobStore, Publisher, Schedule, ValkeyBroker
from app.core.policies import CreditLedger

# A message is claimed within milliseconds of its delivery, or kept by who waits for the database.
_STALE_S = 10.0


class JobGroup(WebhookSettings, Protocol):
    """What jobs read of their group of settings."""

    @property
    def silent_s(self) -> float:
        """Seconds without a sign of life after which a worker is given up."""

    @property
    def keep_days(self) -> int:
        """How long jobs are kept after their end."""


class JobSettings(Protocol):
    """What jobs read of the settings."""

    @property
    def jobs(self) -> JobGroup:
        """Their own group."""


def provide_jobs(platform: Platform, settings: JobSettings) -> Mapping[type[Any], Any]:
    """The store in PostgreSQL, the broker on Valkey, the queue into which handlers submit, and what people do with jobs."""
    # Asked when it is needed: the feature that keeps credits may come later in the registry, or not at all.
    charges = JobCharges(lambda: platform.services.get(CreditLedger), platform.holds)
    store = PostgresJobStore(platform.database, [charges])
    broker = ValkeyBroker(platform.store, stale_s=min(_STALE_S, settings.jobs.silent_s))
    catalog = platform.require(Catalog)
    options = QueueOptions(silent_s=settings.jobs.silent_s, keep_days=settings.jobs.keep_days)
    publisher = Publisher(store, broker)
    platform.on_stop.append(publisher.close)
    platform.on_stop.append(broker.close)
    desk = JobDesk(store, publisher, charge_again=charges.charge_again)
    queue = JobQueue(store, publisher, catalog, clock=platform.clock)
    return {
        **provide_webhooks(platform, settings.jobs, store, queue),
        JobStore: store,
        JobBroker: broker,
        Publisher: publisher,
        JobDesk: desk,
        BulkRetry: BulkRetry(platform.database, desk, platform.clock),
        JobWaits: JobWaits(platform.database, desk, _watch(platform)),
        JobCharges: charges,
        JobQueue: queue,
        QueueDesk: QueueDesk(platform.database, broker, catalog.queues, options),
        Schedule: Schedule(platform.database, store, queue),
    }


def _watch(platform: Platform) -> JobWatch:
    traffic = platform.traffic
    watch = JobWatch(
        partial(read_states, platform.database),
        clock=platform.clock,
        is_draining=lambda: traffic.is_draining,
        most=max(1, traffic.max_in_flight // 2),  # Others are to be answered too.
    )
    platform.on_stop.append(watch.close)
    return watch
