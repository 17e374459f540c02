"""The history that the monitor keeps."""

from app.builtin.db_monitor.models.statement_samples import MonitoredStatement, StatementSample
from app.core.db import Base

TABLES: tuple[type[Base], ...] = (StatementSample, MonitoredStatement)

__all__ = ["TABLES", "MonitoredStatement", "StatementSample"]
