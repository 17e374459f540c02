from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from app.core.db import Database
from tests.builtin.db_monitor.hostile import CANARY, NOTES
from tests.builtin.db_monitor.test_queries import LOOK, WRITE, queryid_of
from tests.sites import Site

PATH = "/db-monitor/optimize-query"


async def ask(site: Site, body: dict[str, Any], scopes: tuple[str, ...] = WRITE) -> httpx2.Response:
    return await site.client.post(PATH, json=body, headers=site.bearer(scopes=scopes, user=uuid4()))


@pytest.fixture(scope="module")
async def letters(database: Database, site: Site) -> AsyncIterator[str]:
    """A table whose rows an index would find."""
    name = "attacked.letters"
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql(
            f"CREATE TABLE {name} AS SELECT i AS id, md5(i::text) AS secret, repeat('x', 50) AS text"
            " FROM generate_series(1, 8000) i"
        )
        await connection.exec_driver_sql(f"ANALYZE {name}")
    yield name
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql(f"DROP TABLE {name}")


async def test_an_index_is_suggested_with_what_it_needs_and_without_a_value(site: Site, letters: str) -> None:
    answer = await ask(site, {"sql": f"SELECT * FROM {letters} WHERE secret = '{CANARY}'"})
    found = answer.json()
    (one,) = found["suggestions"]
    assert answer.status_code == 200
    assert found["statement"] == f"SELECT * FROM {letters} WHERE secret = ?"
    assert one["ddl"] == [
        'CREATE INDEX CONCURRENTLY "ix_letters_secret" ON "attacked"."letters" USING btree ("secret")'
    ]
    assert (one["schema_name"], one["table"], one["verified"]) == ("attacked", "letters", "estimated")
    assert one["gain"] > 2
    assert "autocommit_block" in one["alembic"]
    assert CANARY not in answer.text


async def test_where_there_is_none_it_says_why(site: Site) -> None:
    found = (await ask(site, {"sql": f"SELECT * FROM {NOTES} WHERE secret = '{CANARY}'"})).json()
    assert found["suggestions"] == []
    assert found["reasons"] == [f"{NOTES} is so small that reading all of it is the fastest way"]


async def test_a_text_needs_the_right_to_write_and_a_queryid_does_not(
    site: Site, database: Database, letters: str
) -> None:
    refused = await ask(site, {"sql": "SELECT 1"}, LOOK)
    assert refused.status_code == 403
    assert "write:monitor" in refused.text
    queryid = await queryid_of(database, f"SELECT id FROM {letters} WHERE secret = 'no such'")
    found = await ask(site, {"queryid": queryid}, LOOK)
    assert (found.status_code, len(found.json()["suggestions"])) == (200, 1)


@pytest.mark.parametrize(
    "body", [{"sql": "SELECT 1", "analyze": True}, {"sql": "SELECT 1", "queryid": "1"}, {}]
)
async def test_a_body_of_another_shape_is_refused(site: Site, body: dict[str, Any]) -> None:
    assert (await ask(site, body)).status_code == 422
