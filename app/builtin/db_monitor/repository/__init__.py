"""Writes of the monitor's history, in a session that the caller commits."""

from app.builtin.db_monitor.repository.history import can_write
from app.builtin.db_monitor.repository.table_samples import TableSamples

__all__ = ["TableSamples", "can_write"]
