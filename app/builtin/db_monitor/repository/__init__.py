"""Reads and writes of the monitor's history, in a session that the caller commits."""

from app.builtin.db_monitor.repository.statement_samples import (
    KnownStatement,
    NewText,
    StatementHistory,
    StatementSeries,
    WindowUse,
)

__all__ = ["KnownStatement", "NewText", "StatementHistory", "StatementSeries", "WindowUse"]
