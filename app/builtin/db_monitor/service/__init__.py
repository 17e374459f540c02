"""What the monitor does with the answers of the server."""

from app.builtin.db_monitor.service.provide import provide_monitor

__all__ = ["provide_monitor"]
