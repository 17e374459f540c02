"""The paths that tell what goes on: each asked once, on one site."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from app.builtin.db_monitor.router import router
from app.builtin.db_monitor.service import provide_monitor
from app.core.observability import CacheEvent
from app.registry import Feature
from app.settings import Settings
from tests.gated import Service, bearer, serving

LOOKER = UUID("00000000-0000-7000-8000-0000000000b1")
RIGHTS = bearer(LOOKER, scopes=("read:monitor",))
FEATURE = Feature(name="db_monitor", router=router, provides=provide_monitor)


@pytest.fixture(scope="module")
async def site(settings: Settings) -> AsyncIterator[Service]:
    async with serving(settings, FEATURE) as service:
        yield service


async def told(site: Service, path: str) -> dict[str, Any]:
    answer = await site.client.get(f"/db-monitor/{path}", headers=RIGHTS)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    for finding in body["findings"]:
        assert {"check", "severity", "subject", "title", "evidence", "fix", "ddl"} == set(finding)
    return body


@pytest.mark.usefixtures("clean_store")
class TestActivity:
    async def test_connections_are_told_from_both_sides(self, site: Service) -> None:
        async with site.platform.database.connect(), site.platform.database.connect():
            body = await told(site, "connections")
        status = site.platform.database.pool_status()
        assert (body["pool_in_use"], body["pool_limit"], body["pool_waiting"]) == (2, status.limit, 0)
        assert body["pool_size"] == status.size
        assert body["free"] == body["usable"] - body["used"] >= 0
        ours = [group for group in body["groups"] if group["application"] == "gatehouse"]
        assert sum(group["connections"] for group in ours) >= 2

    async def test_a_pool_that_is_used_up_is_found(self, site: Service) -> None:
        database = site.platform.database
        held = [database.engine.connect() for _ in range(database.pool_status().limit)]
        try:
            for each in held:
                await each.start()
            body = await told(site, "connections")
        finally:
            for each in held:
                await each.close()
        crowded = [finding for finding in body["findings"] if finding["check"] == "connections.pool"]
        assert [(each["severity"], each["title"][:5]) for each in crowded] == [("warning", "100 %")]

    async def test_a_transaction_is_told_with_its_statement_without_values(self, site: Service) -> None:
        async with site.platform.database.engine.begin() as connection:
            await connection.exec_driver_sql("SELECT 'a secret of the activity tests'")
            body = await told(site, "locks")
        assert "SELECT ?" in [each["statement"] for each in body["transactions"]]
        assert "secret" not in str(body)
        assert body["deadlocks"] >= 0

    async def test_settings_replication_and_maintenance_are_told(self, site: Service) -> None:
        settings = {each["name"]: each for each in (await told(site, "settings"))["settings"]}
        assert settings["random_page_cost"]["verdict"] == "look"
        assert settings["fsync"] == settings["fsync"] | {"value": "off", "verdict": "change"}
        replication = await told(site, "replication")
        assert (replication["is_standby"], replication["own"]) == (False, None)
        maintenance = await told(site, "maintenance")
        assert maintenance["unavailable"] == {}
        assert maintenance["autovacuum_workers"] >= 1
        assert {each["database"] for each in maintenance["databases"]} >= {"template1", "postgres"}

    async def test_caches_are_told_ours_the_servers_and_valkeys(self, site: Service) -> None:
        for kind in ("miss", "hit", "hit", "stored"):
            site.platform.hub.emit(CacheEvent(kind, "activity_tests"))
        body = await told(site, "cache")
        ours = {each["name"]: each for each in body["own"]}["activity_tests"]
        assert (ours["asked"], ours["served"], ours["hit_percent"]) == (3, 2, 66.67)
        assert body["unavailable"] == {}
        assert body["store"]["keys"] >= 0 < body["store"]["memory"]
        assert (body["buffers"]["is_window"], body["buffers"]["seconds"] > 0) == (False, True)

    @pytest.mark.parametrize(
        "path", ["connections", "locks", "replication", "maintenance", "settings", "cache"]
    )
    async def test_it_needs_the_scope(self, site: Service, path: str) -> None:
        answer = await site.client.get(
            f"/db-monitor/{path}", headers=bearer(LOOKER, scopes=("read:records",))
        )
        assert answer.status_code == 403
