"""How large tables were."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.monitor import SAMPLES_TABLE


class TableSample(Base):
    """The size of one table at one time, of a partitioned one with its partitions; by names, because a table that is made anew goes on
    under its own. ``taken_at`` is the server's time. Partitioned by month; rows are only ever added, and go with their month.
    """

    __tablename__ = SAMPLES_TABLE
    __table_args__ = ({"postgresql_partition_by": "RANGE (taken_at)"},)

    schema_name: Mapped[str] = mapped_column(primary_key=True)
    table_name: Mapped[str] = mapped_column(primary_key=True)
    taken_at: Mapped[datetime] = mapped_column(primary_key=True)
    heap_bytes: Mapped[int] = mapped_column(BigInteger)
    index_bytes: Mapped[int] = mapped_column(BigInteger)
    toast_bytes: Mapped[int] = mapped_column(BigInteger)
    row_count: Mapped[int | None] = mapped_column(BigInteger)
