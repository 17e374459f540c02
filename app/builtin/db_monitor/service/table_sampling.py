"""The history of the sizes of tables."""

import structlog

from app.builtin.db_monitor.repository import TableSamples, can_write
from app.core.db import Database, get_db_context
from app.core.monitor import MonitorServer, sizes_to_store

_log = structlog.get_logger(__name__)


class TableSampling:
    """Looks at the 500 largest tables over the monitor's connections, and stores their sizes in ``database``, the same server.

    months: how many the history goes back, besides this one. On a server that takes no writes nothing is stored, and that is said once.
    """

    def __init__(self, server: MonitorServer, database: Database, *, months: int) -> None:
        self._server = server
        self._database = database
        self._months = months
        self._has_told = False

    async def take(self) -> int:
        """One run; how many samples were stored. Raises MonitorError or a DatabaseError when the server does not answer."""
        async with get_db_context(self._database) as session:
            if not await can_write(session):
                return self._skip()
            await TableSamples(session).keep_months(self._months)
        async with self._server.ask(statement_timeout_ms=5_000, budget_s=15) as asked:
            at, tables = await sizes_to_store(asked)
        async with get_db_context(self._database) as session:
            return await TableSamples(session).add(at, tables)

    def _skip(self) -> int:
        if not self._has_told:
            _log.warning("monitor.history_is_off", reason="the server takes no writes")
        self._has_told = True
        return 0
