"""SQLAlchemy's pool, which tells what it does."""

from time import perf_counter
from typing import Any

from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

from app.core.observability import PoolMeter


class MeasuredPool(AsyncAdaptedQueuePool):
    """Counts its connections and those who wait for one, and takes the time; ``logging_name`` is the label of its metrics.

    The engine's option for it is ``pool_logging_name``. A pool that replaces this one (``recreate``) has its name
    and a meter of its own: what is out comes back to the old one.
    """

    # Otherwise what it tells of its inner workings at INFO would be the application's, and not under SQLAlchemy's level.
    _sqla_logger_namespace = "sqlalchemy.pool.impl.MeasuredPool"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.meter = PoolMeter(options.get("logging_name") or "default")

    def dispose(self) -> None:
        """Close what is idle."""
        super().dispose()
        self._tell()

    def _do_get(self) -> ConnectionPoolEntry:
        started = perf_counter()
        self.meter.wait(1)
        try:
            entry = super()._do_get()
        except Exception as error:
            self.meter.failed(type(error).__name__)
            raise
        finally:
            self.meter.wait(-1)
            self._tell()
        self.meter.acquired(perf_counter() - started)
        return entry

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        super()._do_return_conn(record)
        self._tell()

    def _tell(self) -> None:
        in_use = max(0, self.checkedout())
        self.meter.tell(size=in_use + self.checkedin(), in_use=in_use)
