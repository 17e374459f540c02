"""A backend that dies: what the caller sees, and what is never tried again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import (
    CommitOutcomeUnknown,
    ConstraintViolated,
    Database,
    DatabaseFault,
    DatabaseTimeout,
    DatabaseUnavailable,
    InvalidValue,
    UnitOfWork,
    forbid_connection_leaks,
    get_db_context,
    session_scope,
    translate,
)
from app.core.db._errors import translate_commit
from app.core.resilience import Retrier, RetryRules, is_transient, retry_decorator
from tests.cases import each_case


@pytest.fixture
async def own(postgres_url: str) -> AsyncIterator[Database]:
    """One connection, so that a broken one would be met again."""
    database = Database(postgres_url, pool_size=1, max_overflow=0, pool_timeout_s=5)
    yield database
    assert database.pool_status().checked_out == 0
    await database.ping()
    await database.close()


@pytest.fixture
async def lethal(database: Database, entries: None) -> AsyncIterator[None]:
    """``entries`` whose row 666 kills its backend while its transaction commits."""
    async with database.connect() as connection:
        await connection.execute(
            text(
                "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN IF NEW.id = 666 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END'"
            )
        )
        await connection.execute(
            text(
                "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION die()"
            )
        )
    yield
    async with database.connect() as connection:
        await connection.execute(text("DROP FUNCTION die() CASCADE"))


async def kill(database: Database, session: AsyncSession, *, noticed: bool = True) -> None:
    """End the backend of ``session`` and wait until it is gone; ``noticed``: until the driver has seen it too."""
    raw = await (await session.connection()).get_raw_connection()
    driver = raw.driver_connection
    assert driver is not None
    async with database.connect() as connection:
        pid = driver.get_server_pid()
        await connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    async with asyncio.timeout(5):
        while noticed and not driver.is_closed():  # noqa: ASYNC110 - the driver tells nobody
            await asyncio.sleep(0)


INSERT = text("INSERT INTO entries VALUES (:id, :id, 'x')")


class TestClosing:
    @pytest.mark.parametrize("noticed", [True, False])
    async def test_the_error_of_the_block_is_the_one_that_is_seen(
        self, own: Database, database: Database, noticed: bool
    ) -> None:
        async def work() -> None:
            async with get_db_context(own) as session:
                await kill(database, session, noticed=noticed)
                raise ConstraintViolated("mine")

        with pytest.raises(ConstraintViolated, match="mine"):
            await work()

    @pytest.mark.parametrize("noticed", [True, False])
    async def test_the_rollback_of_a_request_is_quiet(
        self, own: Database, database: Database, noticed: bool
    ) -> None:
        with session_scope(own) as scope:
            session = scope.open()
            await kill(database, session, noticed=noticed)
            await scope.rollback()
            assert not session.in_transaction()
            assert await session.scalar(text("SELECT 1")) == 1
            await session.close()

    async def test_the_error_of_a_unit_of_work_is_the_one_that_is_seen(
        self, own: Database, database: Database
    ) -> None:
        async def work(session: AsyncSession) -> None:
            async with UnitOfWork(session):
                await kill(database, session)
                raise ZeroDivisionError

        async with own.session() as session:
            with pytest.raises(ZeroDivisionError):
                await work(session)


class TestCommit:
    async def test_a_backend_that_dies_under_it_leaves_the_outcome_unknown(
        self, own: Database, lethal: None
    ) -> None:
        with pytest.raises(CommitOutcomeUnknown) as caught:
            async with get_db_context(own) as session:
                await session.execute(INSERT, {"id": 666})
        assert caught.value.status == 503
        assert not is_transient(caught.value)

    async def test_what_the_request_reads_afterwards_shows_whether_it_was_done(
        self, own: Database, lethal: None
    ) -> None:
        with session_scope(own) as scope:
            with pytest.raises(CommitOutcomeUnknown):
                async with get_db_context(own) as session:
                    await session.execute(INSERT, {"id": 666})
            assert scope.must_read_primary

    async def test_the_session_s_own_commit_says_so_too(self, own: Database, lethal: None) -> None:
        async with own.session() as session:
            await session.execute(INSERT, {"id": 666})
            with pytest.raises(CommitOutcomeUnknown):
                await session.commit()

    async def test_a_request_s_commit_is_in_doubt(self, own: Database, lethal: None) -> None:
        with session_scope(own) as scope:
            session = scope.open()
            await session.execute(INSERT, {"id": 666})
            with pytest.raises(CommitOutcomeUnknown):
                await scope.commit()
            assert scope.is_in_doubt
            await session.close()

    async def test_it_is_never_tried_again_whatever_exceptions_are_named(
        self, own: Database, lethal: None
    ) -> None:
        attempts = 0

        @retry_decorator(max_retries=3, exceptions=Exception, base=0)
        async def write() -> None:
            nonlocal attempts
            attempts += 1
            async with get_db_context(own) as session:
                await session.execute(INSERT, {"id": 666})

        with pytest.raises(CommitOutcomeUnknown):
            await write()
        assert attempts == 1

    async def test_one_that_was_never_sent_kept_nothing_and_is_tried_again(
        self, own: Database, database: Database, entries: None
    ) -> None:
        attempts, waits = 0, list[float]()

        async def wait(seconds: float) -> None:
            waits.append(seconds)

        @retry_decorator(retrier=Retrier(RetryRules(attempts=2, base=0), sleep=wait))
        async def write() -> None:
            nonlocal attempts
            attempts += 1
            async with get_db_context(own) as session:
                await session.execute(INSERT, {"id": 1})
                if attempts == 1:
                    await kill(database, session)

        await write()
        async with own.session() as session:
            assert await session.scalar(text("SELECT count(*) FROM entries")) == 1
        assert (attempts, len(waits)) == (2, 1)

    @pytest.mark.parametrize("what", ["a rollback", "a statement"])
    async def test_what_comes_after_one_that_was_done_leaves_no_doubt(
        self, own: Database, database: Database, entries: None, what: str
    ) -> None:
        async with own.engine.connect() as connection, AsyncSession(connection) as session:
            await connection.execute(INSERT, {"id": 1})
            await connection.commit()
            await session.execute(text("SELECT 1"))
            await kill(database, session, noticed=False)
            with pytest.raises((DBAPIError, DatabaseUnavailable)) as lost:
                await (connection.rollback() if what == "a rollback" else session.execute(INSERT, {"id": 2}))
            assert type(translate(lost.value)) is DatabaseUnavailable

    async def test_a_constraint_that_refuses_it_is_no_doubt(self, own: Database, entries: None) -> None:
        with pytest.raises(ConstraintViolated) as caught:
            async with get_db_context(own) as session:
                await session.execute(text("INSERT INTO entries VALUES (1, 7, 'x')"))
        assert (caught.value.sqlstate, caught.value.constraint) == ("23503", "fk_entries_parent")


class TestFetch:
    async def test_of_a_write_whose_backend_dies_leaves_the_outcome_unknown(
        self, own: Database, lethal: None
    ) -> None:
        with pytest.raises(CommitOutcomeUnknown) as caught, forbid_connection_leaks(own):
            await own.fetch("INSERT INTO entries VALUES (666, 666, 'x')")
        assert caught.value.status == 503
        assert not is_transient(caught.value)
        assert await own.fetch("SELECT id FROM entries") == []  # on a connection that is new

    async def test_of_a_read_whose_backend_dies_is_no_doubt(self, own: Database, entries: None) -> None:
        with pytest.raises(DatabaseUnavailable) as caught, forbid_connection_leaks(own):
            await own.fetch("SELECT pg_terminate_backend(pg_backend_pid())")
        assert not isinstance(caught.value, CommitOutcomeUnknown)
        assert await own.fetch("SELECT id FROM entries") == []

    @pytest.mark.parametrize("row", ["(1, 7, 'x')", "(1, 1, '')", "(1, 1, 'x'), (1, 1, 'x')"])
    async def test_of_a_write_that_the_server_refuses_is_no_doubt(
        self, own: Database, entries: None, row: str
    ) -> None:
        pid = await own.fetch("SELECT pg_backend_pid()")
        with pytest.raises((ConstraintViolated, InvalidValue)):
            await own.fetch(f"INSERT INTO entries VALUES {row}")
        assert await own.fetch("SELECT pg_backend_pid()") == pid

    async def test_of_a_write_that_is_too_late_is_no_doubt(self, postgres_url: str, entries: None) -> None:
        database = Database(postgres_url, statement_timeout_s=0.05)
        with pytest.raises(DatabaseTimeout):
            await database.fetch("INSERT INTO entries SELECT 1, 1, pg_sleep(30)::text")
        await database.close()

    async def test_of_a_write_through_a_pooler_that_is_too_late_is_in_doubt(
        self, postgres_url: str, entries: None
    ) -> None:
        url = postgres_url + "&pgbouncer=true"
        database = Database(url, pool_size=1, max_overflow=0, statement_timeout_s=0.5)
        pid = await database.fetch("SELECT pg_backend_pid()")
        with pytest.raises(CommitOutcomeUnknown), forbid_connection_leaks(database):
            await database.fetch("INSERT INTO entries SELECT 1, 1, pg_sleep(30)::text")
        assert await database.fetch("SELECT pg_backend_pid()") != pid
        await database.close()

    @pytest.mark.parametrize(
        ("values", "meaning"), [(("one",), InvalidValue), ((1, 2), DatabaseFault)], ids=["type", "number"]
    )
    async def test_of_a_write_that_the_driver_refuses_keeps_no_lock(
        self, own: Database, database: Database, entries: None, values: tuple[Any, ...], meaning: Any
    ) -> None:
        with pytest.raises(meaning), forbid_connection_leaks(own):
            await own.fetch("INSERT INTO entries VALUES ($1, 1, 'x')", *values)
        async with asyncio.timeout(5):
            while await database.fetch("SELECT FROM pg_locks WHERE relation = 'entries'::regclass"):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)


async def test_a_lone_statement_that_the_driver_refuses_keeps_no_lock(
    own: Database, database: Database, entries: None
) -> None:
    with pytest.raises(InvalidValue), forbid_connection_leaks(own):
        async with own.connect() as connection:
            await connection.exec_driver_sql("INSERT INTO entries VALUES ($1, 1, 'x')", ("one",))
    async with asyncio.timeout(5):
        while await database.fetch("SELECT FROM pg_locks WHERE relation = 'entries'::regclass"):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)


async def test_a_refused_check_names_its_code_and_constraint(own: Database, entries: None) -> None:
    async with own.session() as session:
        with pytest.raises(IntegrityError) as caught:
            await session.execute(text("INSERT INTO entries VALUES (1, 1, '')"))
    error = translate(caught.value)
    assert isinstance(error, InvalidValue)
    assert (error.sqlstate, error.constraint) == ("23514", "ck_entries_text")


@each_case(
    ("code", "is_unknown"),
    [("57P01", True), ("08006", True), ("40003", True), ("57014", False), ("40001", False), ("23505", False)],
)
def test_the_server_s_word_decides_whether_a_commit_is_in_doubt(code: str, is_unknown: bool) -> None:
    error = asyncpg.PostgresError("x")
    error.sqlstate = code
    assert (translate_commit(error) is not None) is is_unknown


def test_a_commit_without_an_answer_is_in_doubt() -> None:
    assert isinstance(translate_commit(TimeoutError()), CommitOutcomeUnknown)
    assert isinstance(translate_commit(ConnectionResetError()), DatabaseUnavailable)


@each_case("code", ["08007", "40003"])
def test_what_the_server_cannot_say_is_not_tried_again(code: str) -> None:
    error = asyncpg.PostgresError("x")
    error.sqlstate = code
    assert not is_transient(error)
