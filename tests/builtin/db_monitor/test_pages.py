"""The monitor's pages as they are answered: rights, forms, header fields, and text of the database that stays text."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from uuid import UUID

import httpx2
import pytest

from app.builtin.db_monitor.router import router as monitor
from app.builtin.db_monitor.service import Board, provide_monitor
from app.core.db import Database
from app.registry import Feature
from app.settings import Settings
from tests.builtin.pages.browser import assert_nothing_inline
from tests.gated import Service, bearer, serving

HOSTILE = "<img src=x onerror=alert(1)>\"'&{{ 7919*7927 }}"
LOOKS: Mapping[str, str] = bearer(UUID(int=1), scopes=("read:monitor",))
WRITES: Mapping[str, str] = bearer(UUID(int=1), scopes=("read:monitor", "write:monitor"))
PAGES = (
    "",
    "/queries",
    "/indexes",
    "/tables",
    "/tables/hostile.rows",
    "/connections",
    "/cache",
    "/n-plus-one",
    "/server",
)
PLAIN = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


@pytest.fixture(scope="module")
async def service(make_settings: Callable[..., Settings], database: Database) -> AsyncIterator[Service]:
    """The monitor alone, on a database with a table and a role of application that want to be markup."""
    name = HOSTILE.replace('"', '""')
    async with database.engine.begin() as connection:
        for statement in (
            "CREATE SCHEMA hostile",
            "CREATE TABLE hostile.rows (id int)",
            f'CREATE TABLE hostile."{name}" (id int)',
        ):
            await connection.exec_driver_sql(statement)
    feature = Feature(name="db_monitor", router=monitor, provides=provide_monitor)
    async with serving(make_settings(), feature) as service:
        yield service
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("DROP SCHEMA hostile CASCADE")


async def get(service: Service, path: str, headers: Mapping[str, str] = LOOKS) -> httpx2.Response:
    return await service.client.get(f"/ui/db-monitor{path}", headers=headers)


async def test_every_page_runs_scripts_of_ours_alone_and_is_kept_by_nobody(
    service: Service, clean_store: None
) -> None:
    for path in PAGES:
        page = await get(service, path)
        assert (path, page.status_code) == (path, 200)
        assert page.headers["content-security-policy"] == f"{PLAIN}; script-src 'self'; connect-src 'self'"
        assert page.headers["cache-control"] == "no-store"
        assert_nothing_inline(page.text, is_scripted=True)
        ids = re.findall(r' id="([^"]*)"', page.text)
        assert len(set(ids)) == len(ids)
        # A tab that the reader may not open is not there.
        assert 'href="/ui/db-monitor/explain"' not in page.text


async def test_names_of_the_database_stay_text(service: Service, clean_store: None) -> None:
    page = await get(service, "/tables")
    assert "&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;{{ 7919*7927 }}" in page.text
    assert "<img" not in page.text
    assert str(7919 * 7927) not in page.text
    for wrong in ("/tables/hostile.missing", "/queries/1", "/tables?page=0", "/queries?sort=x", "/queries/x"):
        answer = await get(service, wrong)
        assert answer.status_code in (404, 422), wrong


async def test_a_field_of_the_form_that_is_empty_is_not_asked_for(
    service: Service, clean_store: None
) -> None:
    page = await get(service, "/queries?window=1h&sort=calls&min_calls=&min_mean_ms=&route=&source=")
    assert page.status_code == 200
    assert '<option value="1h" selected>' in page.text


async def test_only_who_may_write_explains_texts_and_literals_come_back_in_his_own_form_alone(
    service: Service, clean_store: None
) -> None:
    assert (await get(service, "/explain")).status_code == 403
    form = await get(service, "/explain", WRITES)
    assert '<textarea id="sql"' in form.text
    path, sql = (
        "/ui/db-monitor/explain",
        f"SELECT '</textarea>{HOSTILE.replace(chr(39), '')}' FROM hostile.rows WHERE id = 4711",
    )
    answer = await service.client.post(path, data={"sql": sql}, headers=WRITES)
    assert answer.status_code == 200
    assert "Seq Scan on hostile.rows" in answer.text
    assert answer.text.count("4711") == 1
    assert answer.text.count("&lt;/textarea&gt;") == 1
    assert_nothing_inline(answer.text, is_scripted=True)
    refused = await service.client.post(path, data={"sql": "DROP TABLE hostile.rows"}, headers=WRITES)
    assert refused.status_code == 422
    assert 'role="alert"' in refused.text
    assert (await service.client.post(path, data={"sql": sql}, headers=LOOKS)).status_code == 403
    assert (await service.client.post(path, data={"sql": ""}, headers=WRITES)).status_code == 422


async def test_a_part_without_an_answer_says_so_and_the_others_are_there(
    service: Service, clean_store: None, database: Database
) -> None:
    board = service.platform.require(Board)
    await get(service, "")  # both of the monitor's connections are open
    board._kept.clear()
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("LOCK TABLE pg_catalog.pg_index IN ACCESS EXCLUSIVE MODE")
        page = await get(service, "")
    board._kept.clear()
    assert page.status_code == 200
    assert page.text.count("not known</span> <a href=") >= 2
    assert "Not available while a table is locked" in page.text
    assert "<b>gatehouse" in page.text
