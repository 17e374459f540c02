"""What statements cost, interval by interval."""

from datetime import datetime

from sqlalchemy import BigInteger, Double, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base

ALL_STATEMENTS = 0
"""The ``queryid`` of the sample of all statements together; the server gives it to none."""


class StatementSample(Base):
    """What a statement cost from ``since`` until ``at``: no counters that go on, so that samples can be added, and a reset costs nothing.

    Each interval has one sample of ALL_STATEMENTS, also when nothing ran; ``is_complete`` there says whether the server threw entries away
    meanwhile. Times in microseconds. Partitioned by month; a row needs a partition for its time. Give ``at`` in a query, or all partitions
    are read.
    """

    __tablename__ = "monitor_statement_samples"
    __table_args__ = (
        Index("ix_monitor_statement_samples_at", "at"),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    queryid: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    toplevel: Mapped[bool] = mapped_column(primary_key=True)
    is_complete: Mapped[bool] = mapped_column()
    since: Mapped[datetime] = mapped_column()
    calls: Mapped[int] = mapped_column(BigInteger)
    exec_us: Mapped[int] = mapped_column(BigInteger)
    plans: Mapped[int] = mapped_column(BigInteger)
    plan_us: Mapped[int] = mapped_column(BigInteger)
    io_us: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int] = mapped_column(BigInteger)
    hit_blocks: Mapped[int] = mapped_column(BigInteger)
    read_blocks: Mapped[int] = mapped_column(BigInteger)
    dirtied_blocks: Mapped[int] = mapped_column(BigInteger)
    temp_blocks: Mapped[int] = mapped_column(BigInteger)
    wal_bytes: Mapped[int] = mapped_column(BigInteger)
    squares_ms2: Mapped[float] = mapped_column(Double)
    max_us: Mapped[int] = mapped_column(BigInteger)


class MonitoredStatement(Base):
    """The redacted text of a statement, which the server may throw away, and the routes and policies that sent it, twenty of each."""

    __tablename__ = "monitor_statements"
    __table_args__ = (Index("ix_monitor_statements_last_seen", "last_seen"),)

    queryid: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column()
    routes: Mapped[list[str]] = mapped_column(server_default="{}")
    policies: Mapped[list[str]] = mapped_column(server_default="{}")
    first_seen: Mapped[datetime] = mapped_column()
    last_seen: Mapped[datetime] = mapped_column()
