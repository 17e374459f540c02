"""What the monitor does with the answers of the server."""

from app.builtin.db_monitor.service.board import Board
from app.builtin.db_monitor.service.provide import provide_monitor
from app.builtin.db_monitor.service.slow_queries import SlowQueries, SlowQueryReport, StatementDetail
from app.builtin.db_monitor.service.slow_query_answers import answer_of, answer_of_one
from app.builtin.db_monitor.service.statement_sampler import StatementSampler
from app.builtin.db_monitor.service.table_sampling import TableSampling

__all__ = [
    "Board",
    "SlowQueries",
    "SlowQueryReport",
    "StatementDetail",
    "StatementSampler",
    "TableSampling",
    "answer_of",
    "answer_of_one",
    "provide_monitor",
]
