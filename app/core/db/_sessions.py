"""How to come by a session: as a dependency, or as a ``with`` block in scripts; each for writing, and for reading only."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, cast, overload

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._database import Database
from app.core.db._default import default_database
from app.core.db._errors import translate_errors
from app.core.db._finish import finish
from app.core.db._session_scope import current_scope, must_read_primary, note_commit
from app.core.db._session_types import ReadSession, WriteSession
from app.core.errors import ConfigurationError

S = TypeVar("S", bound=AsyncSession)


async def get_db() -> AsyncGenerator[WriteSession]:
    """The request's session, as a dependency: ``db: Annotated[AsyncSession, Depends(get_db)]``, or ``WriteSession`` to say that it writes.

    Takes no connection before its first statement. The gated route commits it when the answer is built and
    before its first byte, rolls it back on any error, and it is closed here, whichever dependency scope asked
    for it.
    """
    session = current_scope("get_db").open()
    try:
        yield session
    finally:
        await finish(session, close=True)


async def get_read_db() -> AsyncGenerator[ReadSession]:
    """A session that only reads, as a dependency: ``db: Annotated[ReadSession, Depends(get_read_db)]``.

    Its transactions are READ ONLY, and go to the replica if there is one that is close enough (``DATABASE_REPLICA_URL``); to the
    primary where the request has written before, or where its answer is kept. It ends when the answer is built, and is closed here.
    Not where a caller must see what he stored a moment ago: that may not have reached the replica. What overrides ``get_db`` serves
    here too, unless this has an override of its own.
    """
    session = current_scope("get_read_db").open_read()
    try:
        yield session
    finally:
        await finish(session, close=True)


@asynccontextmanager
async def get_db_context(database: Database | None = None, **options: Any) -> AsyncIterator[WriteSession]:
    """A session for scripts, jobs, background tasks: committed after the block, rolled back on an error.

    Uses the configured database unless one is given. It is a transaction of its own, not the request's.
    """
    session = (database or default_database()).session(**options)
    try:
        yield session
        if session.in_transaction():
            note_commit()  # Before it, because a commit that failed may have been done.
        with translate_errors():
            await session.commit()
    finally:
        await finish(session, close=True)


@asynccontextmanager
async def get_read_db_context(
    database: Database | None = None, *, fresh: bool = False, **options: Any
) -> AsyncIterator[ReadSession]:
    """``get_read_db`` for scripts, jobs, background tasks: nothing is kept of the block.

    ``fresh``: read what was committed last, so from the primary; without it the replica may serve, if there is one. Uses the configured
    database unless one is given. Raises ReadOnlySession at the end for objects that were changed.
    """
    is_fresh: Callable[[], bool] = (lambda: True) if fresh else must_read_primary
    session = (database or default_database()).read_session(is_fresh, **options)
    try:
        yield session
        session.refuse_changes()
    finally:
        await finish(session, close=True)


class SessionManager(Generic[S]):
    """``get_db_context`` as an object, or ``get_read_db_context`` with ``read_only``.

    ``context`` says what it is for (``session.info["context"]``). One use at a time; not for requests.
    """

    @overload
    def __init__(
        self: "SessionManager[WriteSession]",
        context: str = ...,
        *,
        database: Database | None = ...,
        read_only: Literal[False] = ...,
    ) -> None: ...

    @overload
    def __init__(
        self: "SessionManager[ReadSession]",
        context: str = ...,
        *,
        database: Database | None = ...,
        read_only: Literal[True],
    ) -> None: ...

    def __init__(
        self, context: str = "default", *, database: Database | None = None, read_only: bool = False
    ) -> None:
        self.context = context
        self._database = database
        self._open: Callable[..., Any] = get_read_db_context if read_only else get_db_context
        self._entered: AbstractAsyncContextManager[S] | None = None

    async def __aenter__(self) -> S:
        if self._entered is not None:
            raise ConfigurationError("This SessionManager is in use; make one for each block")
        entered = self._open(self._database, info={"context": self.context})
        self._entered = cast("AbstractAsyncContextManager[S]", entered)
        try:
            return await self._entered.__aenter__()
        except BaseException:
            self._entered = None  # A block that never began is no use.
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entered, self._entered = self._entered, None
        if entered is not None:
            await entered.__aexit__(kind, error, trace)
