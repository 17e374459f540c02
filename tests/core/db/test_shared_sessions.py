"""One session in several tasks: a mistake that must cost its maker an error, and nobody else anything."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import AsyncBaseRepository, Database, DatabaseFault, get_db_context
from app.core.errors import GatehouseError
from tests.lock_waits import until_a_session_waits
from tests.staff import Person

KEY = 72_610_002


@pytest.fixture
async def own(postgres_url: str) -> AsyncIterator[Database]:
    """One connection, so that one that was kept or spoilt is met again."""
    database = Database(postgres_url, pool_size=1, max_overflow=0, pool_timeout_s=5)
    yield database
    assert database.pool_status().checked_out == 0
    await database.close()


def adding(persons: AsyncBaseRepository[Person], name: str) -> Awaitable[object]:
    return persons.create({"name": name})


USES: dict[str, Callable[[AsyncSession], Awaitable[object]]] = {
    "write": lambda session: adding(AsyncBaseRepository(Person, session), "two"),
    "read": lambda session: session.execute(text("SELECT 1")),
    "commit": lambda session: session.commit(),
    "rollback": lambda session: session.rollback(),
    "savepoint": lambda session: session.begin_nested(),
    "close": lambda session: session.close(),
}


@pytest.mark.parametrize("is_begun", [False, True])
@pytest.mark.parametrize("use", USES)
@pytest.mark.filterwarnings("ignore:Usage of the 'Session:sqlalchemy.exc.SAWarning")
async def test_tasks_that_share_a_session_keep_no_connection(
    staff: None, own: Database, use: str, is_begun: bool
) -> None:
    async with asyncio.timeout(60):
        with pytest.raises((SQLAlchemyError, GatehouseError)):  # noqa: PT012 - the block's end is what may fail
            async with get_db_context(own) as session:
                if is_begun:
                    await session.execute(text("SELECT 1"))
                persons = AsyncBaseRepository(Person, session)
                await asyncio.gather(adding(persons, "one"), USES[use](session), adding(persons, "three"))
                raise DatabaseFault  # this one time they were lucky
        async with get_db_context(own) as session:
            await session.execute(text("TRUNCATE staff.persons CASCADE"))


async def test_a_commit_under_a_running_statement_is_refused_and_spoils_no_other_session(
    entries: None, own: Database, database: Database
) -> None:
    async with database.connect() as holder:
        await holder.execute(text(f"SELECT pg_advisory_lock({KEY})"))
        with pytest.raises(DatabaseFault) as caught:  # noqa: PT012 - the block's end is what is refused
            async with get_db_context(own) as session:
                await session.execute(text("INSERT INTO entries VALUES (1, 1, 'x')"))
                forgotten = asyncio.ensure_future(session.execute(text(f"SELECT pg_advisory_lock({KEY})")))
                await until_a_session_waits(database)
        assert "another operation is in progress" in str(caught.value.__cause__)
        with pytest.raises((SQLAlchemyError, GatehouseError)):
            await forgotten
        await holder.execute(text(f"SELECT pg_advisory_unlock({KEY})"))
    async with get_db_context(own) as session:
        assert await session.scalar(text("SELECT count(*) FROM entries")) == 0


async def test_a_connection_with_an_open_transaction_goes_to_nobody(entries: None, own: Database) -> None:
    async with own.connect() as connection:
        await connection.execute(text("BEGIN"))
        await connection.execute(text("INSERT INTO entries VALUES (1, 1, 'x')"))
    async with get_db_context(own) as session:
        assert await session.scalar(text("SELECT count(*) FROM entries")) == 0
