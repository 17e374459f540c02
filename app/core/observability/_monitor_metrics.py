"""What the watched server counts, as metrics of the process that last asked it."""

from prometheus_client import Gauge

# Labelled, so that there is no series before somebody has asked: a jump from 0 to what was counted for years would look like news.
_deadlocks = Gauge(
    "gatehouse_database_deadlocks",
    "Deadlocks that the server has counted in this database since its statistics were last reset",
    ["database"],
    multiprocess_mode="livemostrecent",
)
_transaction_age = Gauge(
    "gatehouse_database_transaction_age",
    "Transactions since the oldest that any database of the server has not frozen; at 2^31 it stops taking writes",
    ["database"],
    multiprocess_mode="livemostrecent",
)


def tell_server_counters(database: str, *, deadlocks: int, transaction_age: int) -> None:
    """What was found now; ``database`` is its name at the server, from the configuration."""
    _deadlocks.labels(database).set(deadlocks)
    _transaction_age.labels(database).set(transaction_age)
