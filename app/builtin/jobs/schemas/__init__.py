"""What jobs and webhooks look like outside."""

from app.builtin.jobs.schemas.jobs import JobChange, JobLine, JobListQuery, JobOut, JobPage, JobQuery
from app.builtin.jobs.schemas.pages import SPANS, JobsPageQuery, RetryForm, WhichJobs
from app.builtin.jobs.schemas.webhooks import (
    AttemptOut,
    DeliveryOut,
    DeliveryPage,
    DeliveryQuery,
    WebhookCreate,
    WebhookCreated,
    WebhookList,
    WebhookOut,
)

__all__ = [
    "SPANS",
    "AttemptOut",
    "DeliveryOut",
    "DeliveryPage",
    "DeliveryQuery",
    "JobChange",
    "JobLine",
    "JobListQuery",
    "JobOut",
    "JobPage",
    "JobQuery",
    "JobsPageQuery",
    "RetryForm",
    "WebhookCreate",
    "WebhookCreated",
    "WebhookList",
    "WebhookOut",
    "WhichJobs",
]
