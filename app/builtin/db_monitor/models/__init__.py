"""The history that the monitor keeps."""

from app.builtin.db_monitor.models.statement_samples import MonitoredStatement, StatementSample

__all__ = ["MonitoredStatement", "StatementSample"]
