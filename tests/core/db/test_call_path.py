import asyncio
import re

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database, get_db_context, watch_queries
from app.core.db._call_path import call_path

ASK = text("SELECT name FROM records")


def names(lines: tuple[str, ...]) -> list[str]:
    return [line.rpartition(" in ")[2] for line in lines]


def inner(limit: int) -> tuple[str, ...]:
    return call_path(limit)


def outer(limit: int) -> tuple[str, ...]:
    return inner(limit)


@pytest.mark.parametrize(("limit", "found"), [(1, ["inner"]), (2, ["inner", "outer"])])
def test_it_begins_with_who_asked(limit: int, found: list[str]) -> None:
    assert names(outer(limit)) == found


def test_lines_are_relative_to_the_project() -> None:
    assert re.fullmatch(r"tests/core/db/test_call_path\.py:\d+ in inner", outer(1)[0])


async def test_it_leads_through_greenlets_coroutines_and_the_platform(database: Database) -> None:
    async def deepest(session: AsyncSession) -> None:
        await session.execute(ASK)
        await session.execute(ASK)

    async def middle() -> None:
        async with get_db_context(database) as session:
            for _ in range(2):
                await deepest(session)

    with watch_queries() as queries:
        await middle()
    first, second = queries.repeated()
    for found in (first, second):
        assert names(found.lines)[:2] == ["deepest", "middle"]
    assert first.lines[0] != second.lines[0]


async def test_a_task_shows_its_own_part(database: Database) -> None:
    async def ask() -> None:
        async with database.session() as session:
            await session.execute(ASK)

    with watch_queries() as queries:
        await asyncio.gather(ask(), ask())
    (found,) = queries.repeated()
    assert names(found.lines) == ["ask"]


async def test_the_platforms_own_statements_have_lines_too(database: Database) -> None:
    with watch_queries(reads_only=False) as queries:
        await asyncio.gather(
            database.ping(), database.ping()
        )  # In tasks, where no line of ours is on the way.
    (found,) = queries.repeated()
    assert found.lines[0].startswith("app/core/db/_database.py:")
    assert names(found.lines)[0] == "ping"
