"""Jobs in PostgreSQL."""

from app.builtin.jobs.repository.changes import JobChanges
from app.builtin.jobs.repository.charges import ChargeCount, count_charge
from app.builtin.jobs.repository.claims import JobClaims, finish_in
from app.builtin.jobs.repository.queues import QueueRows, QueueState, WorkerState
from app.builtin.jobs.repository.rows import JobRows
from app.builtin.jobs.repository.states import JobState, read_states
from app.builtin.jobs.repository.views import JobFilter, JobViews, Reach
from app.builtin.jobs.repository.webhook_deliveries import (
    End,
    WebhookDeliveries,
    give_up,
    purge_deliveries,
    tell_of_end,
)
from app.builtin.jobs.repository.webhook_endpoints import WebhookEndpoints
from app.builtin.jobs.repository.webhook_sending import Sending, WebhookSending
from app.builtin.jobs.repository.workers import WorkerRows, leave, recover

__all__ = [
    "ChargeCount",
    "End",
    "JobChanges",
    "JobClaims",
    "JobFilter",
    "JobRows",
    "JobState",
    "JobViews",
    "QueueRows",
    "QueueState",
    "Reach",
    "Sending",
    "WebhookDeliveries",
    "WebhookEndpoints",
    "WebhookSending",
    "WorkerRows",
    "WorkerState",
    "count_charge",
    "finish_in",
    "give_up",
    "leave",
    "purge_deliveries",
    "read_states",
    "recover",
    "tell_of_end",
]
