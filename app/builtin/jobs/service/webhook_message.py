"""What a webhook says."""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from app.core.jobs import EndedJob

MOST_BODY = 65_536
PING = "ping"


def message(delivery_id: UUID, event: str, at: datetime, data: dict[str, Any]) -> str:
    """The body, as it is signed."""
    said = {"id": str(delivery_id), "type": event, "created_at": at.isoformat(), "data": data}
    return orjson.dumps(said).decode()


def end_message(delivery_id: UUID, job: EndedJob, at: datetime) -> str:
    """How a job ended. With its result, unless the body would be longer than 64 KiB then: with a link to it instead."""
    data: dict[str, Any] = {"job_id": str(job.id), "name": job.name, "status": job.status}
    if job.error is not None:
        data["error"] = job.error
    if job.result is None:
        return message(delivery_id, event_of(job), at, data)
    body = message(delivery_id, event_of(job), at, data | {"result": orjson.Fragment(job.result)})
    if len(body.encode()) <= MOST_BODY:
        return body
    return message(delivery_id, event_of(job), at, data | {"link": f"/jobs/{job.id}"})


def event_of(job: EndedJob) -> str:
    """``job.succeeded`` and so on."""
    return f"job.{job.status}"
