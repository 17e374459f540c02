"""Jobs, and the workers that run them. Times are the database's."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Computed, Index, SmallInteger, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, UUIDPrimaryKey
from app.core.jobs import PRIORITIES, STATUSES

_STATUS_LIST = ", ".join(f"'{status}'" for status in STATUSES)
_PRIORITY_LIST = ", ".join(f"'{priority}'" for priority in PRIORITIES)

_SUBMITTER_IS_READABLE = """submitter IS NULL OR (
    jsonb_typeof(submitter->'id') = 'string' AND jsonb_typeof(submitter->'scopes') = 'array'
    AND jsonb_typeof(submitter->'roles') = 'array' AND jsonb_typeof(submitter->'tenant_id') IN ('string', 'null')
) IS TRUE"""


class StoredJob(UUIDPrimaryKey, Base):
    """One job, and the outbox of its message: ``publish_at`` is when somebody should tell the broker, NULL once somebody has.

    ``submitter``: who submitted it, with what rights (null: the service itself); ``owner`` his id, ``tenant_id`` his tenant. ``unique_key``
    holds others of its name back while the job is open. ``error`` is for its owner. ``worker_id`` and ``attempts`` name the claim of a
    running one.

    No index knows ``status`` or ``worker_id``, only what is computed of the status: a claim changes both, and an update that changes
    nothing which an index knows writes to no index at all, if its page has room (heap-only tuples; half of what a job costs, measured).
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"status IN ({_STATUS_LIST})", name="status_is_known"),
        CheckConstraint(f"priority IN ({_PRIORITY_LIST})", name="priority_is_known"),
        CheckConstraint("progress BETWEEN 0 AND 1", name="progress_is_a_fraction"),
        CheckConstraint("(status = 'running') = (worker_id IS NOT NULL)", name="running_has_a_worker"),
        # One row that cannot be read would keep all that are read with it from being claimed, or recovered.
        CheckConstraint(_SUBMITTER_IS_READABLE, name="submitter_is_readable"),
        # Of open jobs only, so that one that has ended keeps its key: it may be asked to run again.
        Index(
            "uq_jobs_name_unique_key",
            "name",
            "unique_key",
            unique=True,
            postgresql_where=text("unique_key IS NOT NULL AND is_open"),
        ),
        Index("ix_jobs_owner_id", "owner", "id", postgresql_where=text("owner IS NOT NULL")),
        Index("ix_jobs_publish_at", "publish_at", postgresql_where=text("publish_at IS NOT NULL")),
        Index("ix_jobs_queue_id", "queue", "id", postgresql_where=text("is_open")),
        Index(
            "ix_jobs_queue_published_at",
            "queue",
            "published_at",
            postgresql_where=text("is_open AND publish_at IS NULL"),
        ),
        Index("ix_jobs_queue_dead", "queue", "id", postgresql_where=text("is_dead")),
        Index("ix_jobs_failed", "id", postgresql_where=text("has_failed")),
        {"postgresql_with": {"fillfactor": 50}},
    )

    name: Mapped[str] = mapped_column()
    queue: Mapped[str] = mapped_column()
    priority: Mapped[str] = mapped_column()
    owner: Mapped[str | None] = mapped_column()
    tenant_id: Mapped[str | None] = mapped_column()
    submitter: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    arguments: Mapped[Any] = mapped_column(JSONB)
    status: Mapped[str] = mapped_column(server_default="queued")
    is_open: Mapped[bool] = mapped_column(
        Computed("status = ANY (ARRAY['queued'::text, 'running'::text])", persisted=True)
    )
    has_failed: Mapped[bool] = mapped_column(
        Computed("status = ANY (ARRAY['failed'::text, 'dead'::text])", persisted=True)
    )
    is_dead: Mapped[bool] = mapped_column(Computed("status = 'dead'", persisted=True))
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    max_attempts: Mapped[int] = mapped_column(SmallInteger)
    progress: Mapped[float | None] = mapped_column()
    note: Mapped[str | None] = mapped_column()
    result: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[str | None] = mapped_column()
    unique_key: Mapped[str | None] = mapped_column()
    traceparent: Mapped[str | None] = mapped_column()
    webhook_id: Mapped[UUID | None] = mapped_column()
    is_charged: Mapped[bool] = mapped_column(server_default="false")
    charge_no: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    cost_micro: Mapped[int | None] = mapped_column(BigInteger)
    worker_id: Mapped[UUID | None] = mapped_column()
    cancel_requested_at: Mapped[datetime | None] = mapped_column()
    publish_at: Mapped[datetime | None] = mapped_column()
    published_at: Mapped[datetime | None] = mapped_column()
    run_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None] = mapped_column()
    finished_at: Mapped[datetime | None] = mapped_column()


class JobWorker(UUIDPrimaryKey, Base):
    """A worker that is there. ``seen_at``: its last sign of life; one that was silent for too long is given up (``is_gone``),
    and taken out once its jobs are with others.
    """

    __tablename__ = "job_workers"

    name: Mapped[str] = mapped_column()
    queues: Mapped[list[str]] = mapped_column()
    concurrency: Mapped[int] = mapped_column()
    processes: Mapped[int] = mapped_column()
    running: Mapped[int] = mapped_column(server_default="0")
    is_gone: Mapped[bool] = mapped_column(server_default="false")
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
