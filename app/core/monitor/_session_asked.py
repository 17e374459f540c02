"""Questions over a session of SQLAlchemy, for those who have no monitor at hand."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import translate_errors


class SessionAsked:
    """Puts questions through ``session``, in whatever transaction it has. Fulfils ``Asked``.

    There are no limits but the session's own: a path for users asks over ``MonitorServer``. Raises a DatabaseError.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def fetch(self, query: str, *values: Any) -> list[Any]:
        """All rows, as mappings."""
        with translate_errors():
            connection = await self._session.connection()
            return list((await connection.exec_driver_sql(query, values)).mappings())

    async def fetchrow(self, query: str, *values: Any) -> Any:
        """The first row, or None."""
        rows = await self.fetch(query, *values)
        return rows[0] if rows else None

    async def fetchval(self, query: str, *values: Any) -> Any:
        """The first row's first column, or None."""
        row = await self.fetchrow(query, *values)
        return None if row is None else next(iter(row.values()))
