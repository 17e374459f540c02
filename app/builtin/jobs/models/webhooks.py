"""Webhooks: where they go, what is sent, and how each try went."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, EncryptedText, UUIDPrimaryKey


class WebhookEndpoint(UUIDPrimaryKey, Base):
    """Where a user wants to be told. ``secret`` signs; ``former_secret`` does so too until ``former_until``. It goes with the user
    (``user_id``; null: another issuer's).

    ``failed_at`` and ``failure``: a delivery was given up, and none has arrived since. ``disabled_reason``: why it is not active any more.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        Index("ix_webhook_endpoints_owner_id", "owner", "id"),
        Index("ix_webhook_endpoints_user_id", "user_id", postgresql_where=text("user_id IS NOT NULL")),
    )

    owner: Mapped[str] = mapped_column()
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    tenant_id: Mapped[str | None] = mapped_column()
    url: Mapped[str] = mapped_column()
    secret: Mapped[str] = mapped_column(EncryptedText("webhook_endpoints.secret"), deferred=True)
    former_secret: Mapped[str | None] = mapped_column(
        EncryptedText("webhook_endpoints.former_secret"), deferred=True
    )
    former_until: Mapped[datetime | None] = mapped_column()
    is_active: Mapped[bool] = mapped_column(server_default="true")
    disabled_reason: Mapped[str | None] = mapped_column()
    failed_at: Mapped[datetime | None] = mapped_column()
    failure: Mapped[str | None] = mapped_column()
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WebhookDelivery(UUIDPrimaryKey, Base):
    """One message to one endpoint; ``id`` is the message's. ``body`` is what is signed and sent, the same at each try.

    ``ended_at`` is the end of the job that it tells of: one end is told once, however often it is looked at. ``run_id``: the job that sends
    it. ``queued_at``: since when that tries.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status_is_known"),
        CheckConstraint("(status = 'pending') = (finished_at IS NULL)", name="pending_is_not_finished"),
        UniqueConstraint("endpoint_id", "job_id", "ended_at"),
        UniqueConstraint("run_id"),
        Index("ix_webhook_deliveries_endpoint_id_id", "endpoint_id", "id"),
        Index(
            "ix_webhook_deliveries_finished_at",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
    )

    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    job_id: Mapped[UUID | None] = mapped_column()
    ended_at: Mapped[datetime | None] = mapped_column()
    event: Mapped[str] = mapped_column()
    body: Mapped[str] = mapped_column(deferred=True)
    status: Mapped[str] = mapped_column(server_default="pending")
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    run_id: Mapped[UUID] = mapped_column()
    queued_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column()


class WebhookAttempt(Base):
    """One try. Neither ``http_status`` nor ``error``: it is being made, or was broken off. What was answered besides is not kept."""

    __tablename__ = "webhook_attempts"

    delivery_id: Mapped[UUID] = mapped_column(
        ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    http_status: Mapped[int | None] = mapped_column(SmallInteger)
    error: Mapped[str | None] = mapped_column()
    duration_ms: Mapped[int | None] = mapped_column()
