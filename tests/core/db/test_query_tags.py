import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.context import RequestContext, reset_context, set_context
from app.core.db import Database, QueryTags, watch_queries
from app.core.errors import ConfigurationError

SHOWN = text("SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()")
ENCODABLE = st.text(st.characters(codec="utf-8"))
REQUEST = RequestContext(request_id="r-1", policy="records.list", route="/records/{record_id}")


@contextmanager
def request(context: RequestContext = REQUEST) -> Iterator[None]:
    token = set_context(context)
    try:
        yield
    finally:
        reset_context(token)


@pytest.fixture
async def tagged(postgres_url: str) -> AsyncIterator[AsyncSession]:
    database = Database(postgres_url, query_tags=("route", "policy", "request_id"))
    async with database.session() as session:
        yield session
    await database.close()


async def test_the_server_sees_who_asked(tagged: AsyncSession) -> None:
    with request():
        query = str(await tagged.scalar(SHOWN))
    assert query.endswith(" /*policy='records.list',request_id='r-1',route='%2Frecords%2F%7Brecord_id%7D'*/")


async def test_outside_a_request_nothing_is_added(tagged: AsyncSession) -> None:
    assert "/*" not in str(await tagged.scalar(SHOWN))


async def test_only_the_tags_that_are_asked_for(postgres_url: str) -> None:
    database = Database(postgres_url, query_tags=("policy",))
    async with database.session() as session:
        with request():
            assert str(await session.scalar(SHOWN)).endswith(" /*policy='records.list'*/")
    await database.close()


async def test_by_default_there_are_none(database: Database) -> None:
    async with database.session() as session:
        with request():
            assert "/*" not in str(await session.scalar(SHOWN))


async def test_a_statement_keeps_its_own_comment(tagged: AsyncSession) -> None:
    with request():
        query = str(await tagged.scalar(text(str(SHOWN) + " /* mine */")))
    assert query.endswith("/* mine */")


async def test_many_rows_in_one_statement_work(tagged: AsyncSession) -> None:
    await tagged.execute(text("CREATE TEMPORARY TABLE tagged (id int) ON COMMIT DROP"))
    table = Table("tagged", MetaData(), Column("id", Integer))
    with request():
        await tagged.execute(insert(table), [{"id": number} for number in range(3)])
        assert list(await tagged.scalars(select(table.c.id).order_by("id"))) == [0, 1, 2]


async def test_statements_of_many_requests_have_one_shape(tagged: AsyncSession) -> None:
    with watch_queries() as queries:
        for number in range(3):
            with request(REQUEST._replace(request_id=f"r-{number}")):
                await tagged.execute(text("SELECT count(*) FROM records"))
    assert [found.times for found in queries.repeated()] == [3]


@given(ENCODABLE, ENCODABLE)
def test_no_value_ends_the_comment(policy: str, route: str) -> None:
    with request(RequestContext(policy=policy, route=route)):
        comment = QueryTags(["policy", "route"]).comment()
    if not policy and not route:
        assert comment == ""
        return
    inside = re.fullmatch(r" /\*([^*/]*)\*/", comment)
    assert inside
    pairs: dict[str, Any] = dict(re.findall(r"(\w+)='([^']*)'", inside[1]))
    expected = {"policy": policy[:200], "route": route[:200]}
    assert {name: unquote(value) for name, value in pairs.items()} == {
        name: value for name, value in expected.items() if value
    }


def test_a_value_that_cannot_be_encoded_is_replaced() -> None:
    with request(RequestContext(policy="a\ud800")):
        assert QueryTags(["policy"]).comment() == " /*policy='a%3F'*/"


@pytest.mark.parametrize("names", [["user"], ["policy", "principal"], [""]])
def test_an_unknown_tag_is_refused(postgres_url: str, names: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="No such query tag"):
        Database(postgres_url, query_tags=names)
