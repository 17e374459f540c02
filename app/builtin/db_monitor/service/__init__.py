"""What the monitor does with the answers of the server."""

from app.builtin.db_monitor.service.provide import provide_monitor
from app.builtin.db_monitor.service.table_sampling import TableSampling

__all__ = ["TableSampling", "provide_monitor"]
