"""What was done to accounts."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, UUIDPrimaryKey


class AuditEvent(UUIDPrimaryKey, Base):
    """One change of an account or of what it may do, written in the transaction that made it. Nobody changes or deletes it: the table
    refuses.

    ``actor_kind`` is ``user`` (``actor_id`` is his), ``operator`` (somebody at the command line) or ``anonymous`` (nobody who was signed
    in, as with a reset password). ``subject_id`` is the user it was done to; no foreign key, because what is told outlives him.
    ``detail`` never holds secrets.
    """

    __tablename__ = "audit_events"
    __table_args__ = (
        CheckConstraint("actor_kind IN ('user', 'operator', 'anonymous')", name="actor_kind_is_known"),
        CheckConstraint("(actor_kind = 'user') = (actor_id IS NOT NULL)", name="a_user_has_an_id"),
        Index("ix_audit_events_subject_id_id", "subject_id", "id"),
        Index("ix_audit_events_event_id", "event", "id"),
        Index("ix_audit_events_actor_id_id", "actor_id", "id"),
        Index("ix_audit_events_at", "at"),
    )

    at: Mapped[datetime] = mapped_column()
    event: Mapped[str] = mapped_column()
    actor_kind: Mapped[str] = mapped_column()
    actor_id: Mapped[str | None] = mapped_column()
    subject_id: Mapped[UUID | None] = mapped_column()
    request_id: Mapped[str | None] = mapped_column()
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
