"""What happened, as rows that are only ever added: a table that is partitioned by month, so that old months go at once."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db._models import Base, UUIDPrimaryKey


class EventLog(UUIDPrimaryKey, Base):
    """One thing that happened. ``kind`` as in ``record.created``, ``subject`` what it happened to, ``data`` no secrets.

    PostgreSQL wants the column of the partitions in every unique key, so the key is (id, created_at). A row needs a partition for its
    time: ``keep_partitions`` makes them. Give ``created_at`` in a query, or all partitions are read. Not for what must be delivered.
    """

    __tablename__ = "events_log"
    __table_args__ = (
        Index("ix_events_log_kind_created_at", "kind", "created_at"),
        {"postgresql_partition_by": "RANGE (created_at)"},
    )

    kind: Mapped[str] = mapped_column(String(100))
    subject: Mapped[str] = mapped_column(String(200))
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(primary_key=True, server_default=func.now(), sort_order=100)
