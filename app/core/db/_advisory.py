"""Who of several processes does a thing: PostgreSQL's advisory locks, on one connection outside the pool."""

import asyncio
from hashlib import blake2b

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.db._database import Database
from app.core.db._errors import DatabaseError, translate_errors

_FOR_SESSION = text("SELECT pg_try_advisory_lock(:number)")
_FOR_TRANSACTION = text("SELECT pg_try_advisory_xact_lock(:number)")
_ALIVE = text("SELECT true")


class AdvisoryLocks:
    """Locks by name, held by at most one process of this database at a time.

    They live as long as their connection: when it breaks, or the process dies, the server gives them to the next who asks. A server that
    loses sight of a process without a word (a pulled cable) notices by TCP keepalive, minutes later. A process that lost its locks learns
    it when it asks the next time, so work under a lock must be harmless when done twice.

    Behind a pooler in transaction mode (``?pgbouncer=true``) the locks belong to one transaction that stays open, because a session there
    is nobody's; PostgreSQL's ``idle_in_transaction_session_timeout`` must be longer than the pause between two questions.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine: AsyncEngine | None = None
        self._connection: AsyncConnection | None = None
        self._held: set[str] = set()
        self._turn = asyncio.Lock()

    async def hold(self, name: str) -> bool:
        """Take the lock if it is free, or make sure that it is still ours; never waits for another holder.

        Raises a ``DatabaseError`` when the server does not answer; every lock of this object is lost then.
        """
        async with self._turn:
            if self._connection is not None:
                try:
                    return await self._ask(self._connection, name)
                except DatabaseError:  # It broke since the last question; a new one may do.
                    await self._drop()
            try:
                return await self._ask(await self._open(), name)
            except BaseException:
                await self._drop()
                raise

    async def release(self) -> None:
        """Give back every lock and close the connection. The object may be used again."""
        async with self._turn:
            await self._drop()
            if self._engine is not None:
                await self._engine.dispose()
                self._engine = None

    async def _open(self) -> AsyncConnection:
        if self._engine is None:
            self._engine = self._database.lone_engine()
        with translate_errors():
            self._connection = connection = await self._engine.connect()
            if not self._database.through_pooler:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
        return connection

    async def _ask(self, connection: AsyncConnection, name: str) -> bool:
        """Held locks are not asked for again: the server would count them twice."""
        try:
            with translate_errors():
                if name in self._held:
                    return bool(await connection.scalar(_ALIVE))
                statement = _FOR_TRANSACTION if self._database.through_pooler else _FOR_SESSION
                if not await connection.scalar(statement, {"number": _number(name)}):
                    return False
        except asyncio.CancelledError:
            await self._drop()  # In the middle of an answer the connection is of no use.
            raise
        self._held.add(name)
        return True

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._held.clear()
        if connection is None:
            return
        try:
            await connection.invalidate()
            await connection.close()
        except (SQLAlchemyError, OSError):  # It was broken already.
            return


def _number(name: str) -> int:
    """Advisory locks are 64-bit numbers; 2**64 names do not meet."""
    digest = blake2b(b"gatehouse:" + name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
