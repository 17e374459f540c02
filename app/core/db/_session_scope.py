"""The sessions of one request, and who commits them: its route, once, when the answer is built."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Protocol, Self, cast

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._ends import End, Ends
from app.core.db._errors import DatabaseTimeout, DatabaseUnavailable, translate_errors
from app.core.db._finish import finish
from app.core.db._savepoint import Savepoint, commits_of
from app.core.db._sealed import RequestSession
from app.core.db._session_types import ReadSession, WriteSession
from app.core.errors import ConfigurationError

_CHECK_NOW = text("SET CONSTRAINTS ALL IMMEDIATE")
_active: ContextVar["SessionScope | None"] = ContextVar("gatehouse_sessions", default=None)


class Sessions(Protocol):
    """Whoever makes sessions; ``Database`` does."""

    def session(self, **options: Any) -> WriteSession:
        """One that writes."""

    def read_session(self, is_fresh: Callable[[], bool], **options: Any) -> ReadSession:
        """One that only reads; ``is_fresh`` is asked when a transaction begins."""


class SessionScope:
    """The sessions that one request opened, committed together after its answer is built.

    Several sessions are several transactions: they are flushed and their deferred constraints checked first,
    so that refused rows show before anything is committed, then committed in the order they were opened. A
    crash between two commits keeps the first. Those that only read end before, and have no part in all this.
    """

    __slots__ = (
        "_committed", "_database", "_ends", "_guarded", "_is_fresh", "_own", "_sessions", "_token", "_writers", "is_in_doubt",
    )  # fmt: skip

    def __init__(self, database: Sessions) -> None:
        self._database = database
        self._committed = False
        self._ends = Ends()
        self._guarded = False
        self._is_fresh = False
        self._own: WriteSession | None = None
        self._sessions: list[AsyncSession] = []
        self._writers: list[WriteSession] = []
        self._token: Token[SessionScope | None] | None = None
        self.is_in_doubt = False
        """Whether a commit failed that may have reached the server all the same."""

    def __enter__(self) -> Self:
        self._token = _active.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _active.reset(self._token)
            self._token = None
        own, self._own = self._own, None
        if own is None:
            return
        if own.in_transaction():
            # Neither committed nor rolled back, and nothing can be awaited here: the connection is given up.
            own.sync_session.invalidate()
        else:
            own.sync_session.close()

    @property
    def is_used(self) -> bool:
        """Whether any session was opened or anybody waits for the commit; otherwise there is nothing to commit."""
        return bool(self._sessions or self._ends)

    @property
    def has_work(self) -> bool:
        """Whether any session is in a transaction; without one ``commit`` and ``rollback`` send nothing."""
        return any(session.in_transaction() for session in self._sessions)

    def open(self, **options: Any) -> WriteSession:
        """A session that this scope will commit.

        After the commit, one that only reads. Whoever opened it closes it.
        """
        if self._own is not None and not options:
            # What ``first`` put into it belongs to the same transaction as what the handler will write.
            session, self._own = self._own, None
            return session
        session = self._database.session(**options)
        if self._committed:
            _seal(session)
        elif self._guarded:
            _sync(session).guard()
        self._sessions.append(session)
        self._writers.append(session)
        return session

    def open_read(self) -> ReadSession:
        """A session that only reads, after the commit too. Whoever opened it closes it."""
        # Not a method of its own: session and scope would then hold each other until the garbage collector comes.
        session = self._database.read_session(must_read_primary)
        self._sessions.append(session)
        return session

    def read_fresh(self) -> None:
        """Reads go to the primary from now on: what they find will be kept, or must be what was committed last."""
        self._is_fresh = True

    @property
    def must_read_primary(self) -> bool:
        """Whether somebody said so, or a session of the scope has begun to write, as far as one can tell."""
        return self._is_fresh or any(one.in_transaction() or commits_of(one) for one in self._writers)

    def savepoint(self) -> Savepoint:
        """What an attempt at the request's work runs in, so that another may follow if it fails."""
        return Savepoint(self._sessions)

    def first(self) -> WriteSession:
        """The session for writing that the request opened first, or a new one when it has none.

        What goes into it is in one transaction with what the handler writes: a new one is what ``open`` hands
        out next. One that nobody asked for is closed with the scope; end its transaction before, with
        ``commit`` or ``rollback``, or its connection is thrown away.
        """
        if not self._writers:
            self._own = self.open()
        return self._writers[0]

    def commits(self, session: AsyncSession) -> bool:
        """Whether this scope commits what the session writes."""
        return any(writer is session for writer in self._writers)

    def guard(self) -> None:
        """Nobody but this scope commits its sessions from now on.

        ``commit()`` and ``begin()`` on any of them, also one that is opened later, raise ConfigurationError.
        For endpoints with ``durability="db"``, whose record and effect must share one transaction. A
        transaction of somebody's own (``get_db_context``) is not held back.
        """
        self._guarded = True
        for session in self._writers:
            _sync(session).guard()

    def before_commit(self, act: Callable[[], Awaitable[object]]) -> None:
        """Await ``act`` before the commit, inside the transactions: what it writes is kept with the rest, what it raises undoes it all."""
        self._ends.add_before(act)

    def at_end(self, act: Callable[[End], Awaitable[object]]) -> None:
        """Await ``act`` once, when the sessions were committed (``kept``) or rolled back (``undone``).

        ``unknown`` when the connection broke under the commit, or only some of several sessions were committed.
        """
        self._ends.add_after(act)

    async def commit(self) -> None:
        """Commit every session that did something. Raises our errors; what was open then is rolled back.

        Afterwards the sessions can still read, for answers that are streamed, but no longer write.
        """
        for session in self._writers if self._guarded else ():
            _sync(session).lift_guard()
        begun = 0
        try:
            await self._ends.before()
            if len(self._sessions) > len(self._writers):
                await self._end_reads()
            pending = [session for session in self._writers if session.in_transaction()]
            with translate_errors():
                await self._check(pending)
                for session in pending:
                    begun += 1
                    await session.commit()
        except BaseException as error:
            end = _end_of(begun, error)
            self.is_in_doubt = end == "unknown"
            await self._roll_back()
            await self._ends.after(end)
            raise
        self._committed = True
        for session in self._writers:
            _seal(session)
        await self._ends.after("kept")

    async def _end_reads(self) -> None:
        """Give their connections back. An object that one of them loaded and somebody changed undoes the request: nobody would store it."""
        reads = [session for session in self._sessions if isinstance(session, ReadSession)]
        for session in reads:
            session.refuse_changes()
        for session in reads:
            await session.end()

    async def _check(self, pending: list[WriteSession]) -> None:
        if len(pending) > 1:
            for session in pending:
                await session.flush()
                # A deferred constraint would refuse its own commit only, after those before it.
                await session.execute(_CHECK_NOW)

    async def rollback(self) -> None:
        """Roll back every session that did something.

        A broken connection is no error here: the server rolls back by itself.
        """
        await self._roll_back()
        await self._ends.after("undone")

    async def _roll_back(self) -> None:
        for session in self._sessions:
            if session.in_transaction():
                await finish(session, close=False)


def request_sessions() -> tuple[AsyncSession, ...]:
    """The sessions that the request in hand has opened; none outside a request."""
    scope = _active.get()
    return tuple(scope._sessions) if scope is not None else ()  # noqa: SLF001 - the class and its reader are one


def request_session() -> WriteSession | None:
    """The session in which the request in hand writes, and which its route commits: that of ``get_db``; None outside a request. Do not
    close it. Raises ReadOnlySession, when something is written, once the answer is under way.
    """
    scope = _active.get()
    return scope.first() if scope is not None else None


def current_scope(asked_by: str) -> SessionScope:
    """The scope of the request in hand. Raises ConfigurationError outside of one."""
    scope = _active.get()
    if scope is None:
        raise ConfigurationError(
            f"{asked_by} needs a gated route, which commits: use app.core.APIRouter, or else {asked_by}_context()"
        )
    return scope


def must_read_primary() -> bool:
    """Whether a read that begins now, in a request, must find what the request has written."""
    scope = _active.get()
    return scope is not None and scope.must_read_primary


def note_commit() -> None:
    """Something is, or may be, committed past the request's own sessions: what it reads from now on must show that."""
    scope = _active.get()
    if scope is not None:
        scope.read_fresh()


def savepoint() -> Savepoint:
    """Around one of several attempts at a request's work, on whatever sessions the request has."""
    scope = _active.get()
    return scope.savepoint() if scope is not None else Savepoint(())


def session_scope(database: Sessions) -> SessionScope:
    """``with session_scope(database) as scope:`` around a request.

    ``get_db`` inside it opens its sessions there.
    """
    return SessionScope(database)


def _end_of(begun: int, error: BaseException) -> End:
    """What a failed commit left: with ``begun`` commits of which the last failed."""
    is_lost = isinstance(error, (DatabaseUnavailable, DatabaseTimeout, asyncio.CancelledError))
    return "unknown" if begun > 1 or (begun and is_lost) else "undone"


def _sync(session: AsyncSession) -> RequestSession:
    return cast("RequestSession", session.sync_session)


def _seal(session: AsyncSession) -> None:
    _sync(session).seal()
