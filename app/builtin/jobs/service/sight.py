"""What operators see of one job: all of it, but for what looks like a secret."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from app.builtin.jobs.models import WebhookDelivery
from app.builtin.jobs.repository import JobViews, Reach, WebhookDeliveries
from app.builtin.jobs.schemas import JobLine, JobOut
from app.builtin.jobs.service.desk import JobNotFound
from app.core.db import AsyncSession
from app.core.observability import redact, redact_text

MOST_SHOWN: Final = 20_000
_LINE: Final = 300


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to a job, or will. ``after_s``: seconds since the step before; None for the first one."""

    title: str
    at: datetime
    after_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSight:
    """One job. ``arguments`` and ``result`` are JSON, at most 20,000 characters; ``worker`` is who runs it now."""

    job: JobOut
    arguments: str
    result: str | None
    tenant_id: str | None
    trace_id: str | None
    worker: str | None
    steps: tuple[Step, ...]
    deliveries: Sequence[WebhookDelivery]


async def see(session: AsyncSession, reach: Reach, job_id: UUID) -> JobSight:
    """One job. Raises JobNotFound (404) and our database errors."""
    row = await JobViews(session, reach).everything(job_id)
    if row is None:
        raise JobNotFound
    told = []
    if row.webhook_id is not None:
        told = list(await WebhookDeliveries(session).of_job(row.webhook_id, job_id))
    job = JobOut.model_validate(row)
    return JobSight(
        job=without_secrets(job, most=MOST_SHOWN),
        arguments=_shown("arguments", row.arguments),
        result=_shown("result", row.result) if row.result is not None else None,
        tenant_id=row.tenant_id,
        trace_id=row.traceparent.split("-")[1]
        if row.traceparent and row.traceparent.count("-") == 3
        else None,
        worker=row.worker_name or (str(row.worker_id) if row.worker_id is not None else None),
        steps=_steps(job, row.published_at),
        deliveries=told,
    )


def without_secrets(job: JobLine, *, most: int = _LINE) -> Any:
    """The same job; what it said, and why it failed, without what looks like a secret, and not longer than that."""
    return job.model_copy(update={"note": _text(job.note, most), "error": _text(job.error, most)})


def _text(text: str | None, most: int) -> str | None:
    if text is None:
        return None
    clean = redact_text(text)
    return clean if len(clean) <= most else clean[:most] + "\u2026"


def _shown(name: str, value: Any) -> str:
    text = orjson.dumps(redact(name, value), option=orjson.OPT_INDENT_2).decode()
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "\n\u2026 (the rest is not shown)"


def _steps(job: JobOut, published_at: datetime | None) -> tuple[Step, ...]:
    is_due_later = job.status == "queued" and job.run_at > job.created_at
    moments = [
        ("Submitted", job.created_at),
        ("Handed to the broker", published_at),
        (f"Attempt {job.attempts} began", job.started_at),
        ("Asked to end", job.cancel_requested_at),
        ("Next attempt is due" if job.attempts else "Due", job.run_at if is_due_later else None),
        (f"Ended: {job.status}", job.finished_at),
    ]
    known = sorted(((title, at) for title, at in moments if at is not None), key=lambda it: it[1])
    before = [None, *(at for _, at in known)]
    return tuple(
        Step(title, at, (at - last).total_seconds() if last is not None else None)
        for (title, at), last in zip(known, before, strict=False)
    )
