"""What the monitor does with the answers of the server."""

from app.builtin.db_monitor.service.board import Board
from app.builtin.db_monitor.service.provide import provide_monitor
from app.builtin.db_monitor.service.table_sampling import TableSampling

__all__ = [
    "Board",
    "TableSampling",
    "provide_monitor",
]
