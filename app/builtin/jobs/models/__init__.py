"""The tables of jobs, and of the webhooks that tell of their ends."""

from app.builtin.jobs.models.jobs import JobWorker, StoredJob
from app.builtin.jobs.models.webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from app.core.db import Base

TABLES: tuple[type[Base], ...] = (StoredJob, JobWorker, WebhookEndpoint, WebhookDelivery, WebhookAttempt)

__all__ = ["TABLES", "JobWorker", "StoredJob", "WebhookAttempt", "WebhookDelivery", "WebhookEndpoint"]
