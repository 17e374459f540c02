"""The history that the monitor keeps."""

from app.builtin.db_monitor.models.table_samples import TableSample
from app.core.db import Base

TABLES: tuple[type[Base], ...] = (TableSample,)

__all__ = ["TABLES", "TableSample"]
