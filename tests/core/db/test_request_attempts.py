"""A handler that is tried again, on the request's session, through real requests."""

from typing import Annotated

import pytest
from fastapi import Depends
from sqlalchemy import text

from app.core.db import AsyncSession, Database, get_db
from app.core.policies import JobConfig, Retry
from app.settings import Settings
from tests.core.http.gated import READER, as_
from tests.core.http.test_worker import serving_work

pytestmark = pytest.mark.usefixtures("clean_store", "entries")
AT_ONCE = Retry(retry_safe=True, attempts=3, base=0, cap=0)
Session = Annotated[AsyncSession, Depends(get_db)]


async def test_only_the_attempt_that_worked_is_kept(settings: Settings, database: Database) -> None:
    calls = 0

    async def write(db: Session) -> None:
        nonlocal calls
        calls += 1
        await db.execute(text("INSERT INTO entries VALUES (:id, :id, 'x')"), {"id": calls})
        if calls < 3:
            raise ConnectionError

    async with serving_work(settings, JobConfig(retry=AT_ONCE), write) as (client, _):
        assert (await client.get("/work", headers=as_(READER))).status_code == 200
    async with database.connect() as connection:
        assert list(await connection.scalars(text("SELECT id FROM entries"))) == [3]


async def test_what_the_handler_committed_is_not_done_twice(settings: Settings, database: Database) -> None:
    calls = 0

    async def write(db: Session) -> None:
        nonlocal calls
        calls += 1
        await db.execute(text("INSERT INTO entries VALUES (:id, :id, 'x')"), {"id": calls})
        await db.commit()
        raise ConnectionError

    async with serving_work(settings, JobConfig(retry=AT_ONCE), write) as (client, _):
        assert (await client.get("/work", headers=as_(READER))).status_code == 500
    async with database.connect() as connection:
        assert list(await connection.scalars(text("SELECT id FROM entries"))) == [1]
