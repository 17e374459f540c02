"""``get_db_client``: one name for "the database", in a handler and in a script."""

from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any

from app.core.db._default import default_database
from app.core.db._session_types import WriteSession
from app.core.db._sessions import SessionManager, get_db
from app.core.db._url import Provider


class DatabaseClient:
    """A session that is yet to be opened; see ``get_db_client``. It holds no connection, so one that is dropped leaks nothing.

    ``async with`` opens a session of its own: committed after the block, rolled back on an error. One use at a time.
    """

    __slots__ = ("_manager", "_request")

    def __init__(self) -> None:
        self._manager = SessionManager(context="client")
        self._request: AsyncGenerator[WriteSession] | None = None

    @property
    def provider(self) -> Provider:
        """Where the configured database is. Raises ``ConfigurationError`` when none is configured."""
        return default_database().provider

    async def __aenter__(self) -> WriteSession:
        return await self._manager.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._manager.__aexit__(kind, error, trace)

    # As a dependency it is driven like the generator that ``get_db`` returns, which it then is.

    async def __anext__(self) -> WriteSession:
        if self._request is None:
            self._request = get_db()
        return await self._request.__anext__()

    async def athrow(self, error: BaseException, *rest: Any) -> WriteSession:
        """As an asynchronous generator's."""
        if self._request is None:
            raise error
        return await self._request.athrow(error, *rest)

    async def aclose(self) -> None:
        """As an asynchronous generator's."""
        if self._request is not None:
            await self._request.aclose()


def get_db_client() -> DatabaseClient:
    """The database that the environment names: PostgreSQL (``DATABASE_URL``) or Supabase (``SUPABASE_DB_URL``), chosen by ``DB_CLIENT``.

    As a dependency, ``db: Annotated[AsyncSession, Depends(get_db_client)]``, it is ``get_db``: the request's session, committed by its
    route and closed by the request. Called by hand it is used as ``async with get_db_client() as session:``, a transaction of its own.
    """
    return DatabaseClient()


# FastAPI looks through this to see what kind of dependency it is, and finds a generator that it has to end.
get_db_client.__wrapped__ = get_db  # type: ignore[attr-defined]
