"""Reads and writes of the monitor's history, in a session that the caller commits."""

from app.builtin.db_monitor.repository.history import can_write
from app.builtin.db_monitor.repository.statement_samples import (
    KnownStatement,
    NewText,
    StatementHistory,
    StatementSeries,
    WindowUse,
)
from app.builtin.db_monitor.repository.table_samples import TableSamples

__all__ = [
    "KnownStatement",
    "NewText",
    "StatementHistory",
    "StatementSeries",
    "TableSamples",
    "WindowUse",
    "can_write",
]
