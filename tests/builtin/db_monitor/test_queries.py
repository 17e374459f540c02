from typing import Any
from uuid import uuid4

import httpx2
import pytest

from app.builtin.db_monitor.service import provide_monitor
from app.core.db import Database
from app.core.errors import ConfigurationError
from app.core.monitor import MonitorServer
from app.settings import MonitorSettings, Settings
from tests.builtin.db_monitor.hostile import CANARY, NOTES
from tests.sites import Site

PATH = "/db-monitor/analyze-query"
LOOK, WRITE = ("read:monitor",), ("read:monitor", "write:monitor")


async def ask(site: Site, body: dict[str, Any], scopes: tuple[str, ...] = WRITE) -> httpx2.Response:
    return await site.client.post(PATH, json=body, headers=site.bearer(scopes=scopes, user=uuid4()))


async def queryid_of(database: Database, statement: str) -> str:
    """The identifier of a statement that has just run."""
    async with database.engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.fetch(statement)
        found = await driver.fetchval(
            "SELECT queryid FROM attacked.pg_stat_statements WHERE query LIKE $1 ORDER BY calls DESC",
            statement.partition("=")[0] + "%",
        )
    return str(found)


async def test_a_statement_is_shown_as_a_plan_without_its_values(site: Site) -> None:
    answer = await ask(site, {"sql": f"SELECT id FROM {NOTES} WHERE secret = '{CANARY}' ORDER BY n"})
    found = answer.json()
    assert (answer.status_code, found["is_generic"], found["is_analyzed"]) == (200, False, False)
    assert found["statement"] == f"SELECT id FROM {NOTES} WHERE secret = ? ORDER BY n"
    assert [step["kind"] for step in found["steps"]] == ["Sort", "Seq Scan"]
    assert found["steps"][1]["details"] == [["Filter", "(notes.secret = ?::text)"]]
    assert CANARY not in answer.text
    assert [step["measured"] for step in found["steps"]] == [None, None]


async def test_a_statement_that_reads_is_run_where_that_is_asked_for(site: Site) -> None:
    found = (await ask(site, {"sql": f"SELECT * FROM {NOTES} WHERE n > 90", "analyze": True})).json()
    assert found["is_analyzed"]
    assert found["execution_ms"] > 0
    assert found["steps"][0]["measured"]["rows"] == 10


async def test_who_may_only_look_names_a_statement_that_has_run(site: Site, database: Database) -> None:
    queryid = await queryid_of(database, f"SELECT n FROM {NOTES} WHERE secret = '{CANARY}' AND id = 7")
    answer = await ask(site, {"queryid": queryid}, LOOK)
    assert answer.status_code == 200
    assert (answer.json()["is_generic"], answer.json()["steps"][0]["table"]) == (True, NOTES)
    assert CANARY not in answer.text
    assert (await ask(site, {"queryid": "1"}, LOOK)).status_code == 404


@pytest.mark.parametrize("body", [{"sql": "SELECT 1"}, {"queryid": "1", "analyze": True}])
async def test_a_text_and_a_run_need_the_scope_that_writes(site: Site, body: dict[str, Any]) -> None:
    answer = await ask(site, body, LOOK)
    assert (answer.status_code, answer.json()["missing_scopes"]) == (403, ["write:monitor"])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"sql": "SELECT 1", "queryid": "1"},
        {"queryid": 1},
        {"queryid": "9223372036854775808"},
        {"queryid": "1' OR true"},
        {"sql": "SELECT 1", "options": "ANALYZE"},
        {"sql": "SELECT 1", "analyze": "yes"},
    ],
)
async def test_a_question_that_is_none_is_refused(site: Site, body: dict[str, Any]) -> None:
    assert (await ask(site, body)).status_code == 422


class TestProvideMonitor:
    async def test_a_role_of_its_own_is_used(self, site: Site, postgres_url: str) -> None:
        settings = Settings(_env_file=None, monitor=MonitorSettings(database_url=postgres_url))
        server = provide_monitor(site.platform, settings)[MonitorServer]
        assert (await server.facts()).database == postgres_url.partition("?")[0].rpartition("/")[2]
        await server.close()

    def test_a_url_that_is_none_is_named_and_not_shown(self, site: Site) -> None:
        settings = Settings(_env_file=None, monitor=MonitorSettings(database_url=f"mysql://x:{CANARY}@h/n"))
        with pytest.raises(ConfigurationError, match="MONITOR__DATABASE_URL") as caught:
            provide_monitor(site.platform, settings)
        assert CANARY not in f"{caught.value}{settings}"
