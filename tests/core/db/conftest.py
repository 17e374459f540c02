import logging
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from app.core.db import Database
from tests.core.db.replicas import HOURS, Bench, Make
from tests.staff import staff_tables
from tests.standby import Pair


@pytest.fixture
async def entries(database: Database) -> AsyncIterator[None]:
    """A table whose reference to a parent is checked at the commit only."""
    async with database.connect() as connection:
        await connection.execute(
            text(
                "CREATE TABLE entries (id int CONSTRAINT pk_entries PRIMARY KEY, parent int NOT NULL CONSTRAINT"
                " fk_entries_parent REFERENCES entries DEFERRABLE INITIALLY DEFERRED,"
                " text text NOT NULL CONSTRAINT ck_entries_text CHECK (text <> ''))"
            )
        )
    yield
    async with database.connect() as connection:
        await connection.execute(text("SET lock_timeout = '5s'"))
        await connection.execute(text("DROP TABLE entries"))
        await connection.execute(text("RESET lock_timeout"))


@pytest.fixture
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """Every event that our code logs during the test, of every level."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    try:
        with capture_logs() as events:
            yield events
    finally:
        structlog.configure(**before)


@pytest.fixture(scope="module")
async def staff(database: Database) -> AsyncIterator[None]:
    """The tables of ``tests.staff``, for the tests of a file, which leave them as empty as they were."""
    async with staff_tables(database):
        yield


@pytest.fixture
async def db(staff: None, db_session: AsyncSession) -> AsyncSession:
    """A session on the staff's tables, undone after the test."""
    return db_session


@pytest.fixture
async def make(pair: Pair) -> AsyncIterator[Make]:
    """Makes databases with a replica, and closes them. The lag is no matter unless a test says so."""
    async with AsyncExitStack() as stack:

        def make(**options: Any) -> Bench:
            made = Bench(pair, **{"max_lag_s": HOURS, **options})
            stack.push_async_callback(made.database.close)
            return made

        yield make


@pytest.fixture
def bench(make: Make) -> Bench:
    return make()
