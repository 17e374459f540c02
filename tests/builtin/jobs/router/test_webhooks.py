"""``/webhooks`` through the whole service, with a worker that sends."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.builtin.jobs.jobs import deliver_webhook
from app.builtin.jobs.models import TABLES
from app.builtin.jobs.repository import purge_deliveries
from app.builtin.jobs.router import router
from app.builtin.jobs.service import provide_jobs
from app.core.context import Principal
from app.core.db import Database
from app.registry import Feature
from app.settings import Settings
from tests.builtin.jobs.hooks import Nothing, errand
from tests.core.jobs.workbench import Workbench, working
from tests.emptying import empty_tables
from tests.gated import Service, bearer, serving
from tests.upstream import Upstream, reply, serving_upstream

FEATURE = Feature(
    name="jobs", router=router, provides=provide_jobs, models=TABLES, jobs=(errand, deliver_webhook)
)
_RUN = text("""
SELECT j.status, j.attempts, j.run_at - clock_timestamp() AS pause, j.error FROM jobs j
JOIN webhook_deliveries d ON d.run_id = j.id WHERE d.id = :id
""")

_USER = text(
    "INSERT INTO users (id, email, email_key, password_hash) VALUES (:id, 'ann@example.com', 'ann@example.com', '')"
)
_NOW = text("UPDATE jobs SET run_at = now(), publish_at = now() WHERE id = :id")


@dataclass
class Office:
    """The service, its worker, and a user who asks."""

    service: Service
    bench: Workbench
    upstream: Upstream
    database: Database
    user: UUID

    async def ask(self, method: str, path: str, *, by: UUID | None = None, **options: Any) -> Any:
        headers = bearer(by or self.user)
        return await self.service.client.request(method, path, headers=headers, **options)

    async def create(self) -> dict[str, Any]:
        answer = await self.ask("POST", "/webhooks", json={"url": self.upstream.url})
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    async def log(self, webhook: dict[str, Any]) -> list[dict[str, Any]]:
        answer = await self.ask("GET", f"/webhooks/{webhook['id']}/deliveries")
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    async def finished(self, webhook: dict[str, Any]) -> dict[str, Any]:
        """Its newest message, as soon as nothing is pending."""
        found: dict[str, Any] = await seen(
            lambda: self.log(webhook), lambda found: found and found[0]["status"] != "pending"
        )
        return found


async def seen(look: Callable[[], Awaitable[Any]], is_so: Callable[[Any], Any]) -> Any:
    """The first of what was looked at, as soon as it is so."""
    async with asyncio.timeout(60):
        while not is_so(found := await look()):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    return found[0]


@pytest.fixture(scope="module")
async def site(settings: Settings, database: Database) -> AsyncIterator[Office]:
    open_ones = {"webhooks_http": True, "webhooks_private": True}
    changed = settings.model_copy(update={"jobs": settings.jobs.model_copy(update=open_ones)})
    async with (
        serving_upstream() as upstream,
        serving(changed, FEATURE) as service,
        working(changed, FEATURE.jobs) as bench,
    ):
        yield Office(service, bench, upstream, database, uuid4())
    await empty_tables(database)


@pytest.fixture
def office(site: Office, clean_store: None) -> Office:
    """The same with another user."""
    site.user = uuid4()
    site.upstream.recover()
    site.upstream.requests.clear()
    site.upstream.bodies.clear()
    return site


async def test_the_end_of_a_job_is_told(office: Office) -> None:
    webhook = await office.create()
    await office.bench.enqueue(
        errand, Nothing(), submitter=Principal(str(office.user)), webhook_id=UUID(webhook["id"])
    )
    told = await office.finished(webhook)
    assert (told["event"], told["status"], [one["http_status"] for one in told["log"]]) == (
        "job.succeeded",
        "delivered",
        [200],
    )
    assert json.loads(office.upstream.bodies[0])["data"] == {
        "job_id": told["job_id"],
        "name": "errand",
        "status": "succeeded",
        "result": 1,
    }


async def test_a_secret_is_shown_once_and_kept_by_nobody(office: Office) -> None:
    webhook = await office.create()
    listed = (await office.ask("GET", "/webhooks")).json()
    assert [one["id"] for one in listed["items"]] == [webhook["id"]]
    rotated = await office.ask("POST", f"/webhooks/{webhook['id']}/rotate")
    assert (rotated.status_code, rotated.headers["cache-control"]) == (200, "no-store")
    assert rotated.json()["secret"] != webhook["secret"]
    assert webhook["secret"].startswith("whsec_")
    assert "whsec_" not in json.dumps(listed)
    async with office.database.session() as session:
        stored = await session.execute(
            text("SELECT secret, former_secret FROM webhook_endpoints WHERE id = :id"), {"id": webhook["id"]}
        )
        (row,) = stored.all()
    for text_in_table, secret in zip(row, (rotated.json()["secret"], webhook["secret"]), strict=True):
        assert secret not in text_in_table
        assert secret.removeprefix("whsec_") not in text_in_table


async def test_a_ping_arrives_and_its_log_has_pages(office: Office) -> None:
    webhook = await office.create()
    path = f"/webhooks/{webhook['id']}"
    for _ in range(2):
        assert (await office.ask("POST", f"{path}/test")).status_code == 202
        assert (await office.finished(webhook))["event"] == "ping"
    first = (await office.ask("GET", f"{path}/deliveries?limit=1")).json()
    second = (await office.ask("GET", f"{path}/deliveries?limit=1&cursor={first['next_cursor']}")).json()
    assert (len(first["items"]), len(second["items"]), second["next_cursor"]) == (1, 1, None)
    assert first["items"][0]["id"] > second["items"][0]["id"]
    refused = await office.ask("POST", f"/webhooks/deliveries/{first['items'][0]['id']}/retry")
    assert (refused.status_code, "delivered" in refused.json()["detail"]) == (409, True)


async def test_whoever_is_gone_and_whoever_is_busy(office: Office) -> None:
    busy, gone = await office.create(), await office.create()
    office.upstream.always(reply({}, 503, retry_after="500"))
    delivery = (await office.ask("POST", f"/webhooks/{busy['id']}/test")).json()

    async def run() -> list[Any]:
        async with office.database.session() as session:
            return list((await session.execute(_RUN, {"id": delivery["id"]})).all())

    waiting = await seen(run, lambda rows: rows[0].error)
    assert (waiting.status, waiting.attempts, waiting.error) == ("queued", 1, "The webhook failed: HTTP 503.")
    assert waiting.pause > timedelta(seconds=400)
    office.upstream.always(reply({}, 410))
    await office.ask("POST", f"/webhooks/{gone['id']}/test")
    failed = await office.finished(gone)
    (shown,) = [
        one for one in (await office.ask("GET", "/webhooks")).json()["items"] if one["id"] == gone["id"]
    ]
    assert (failed["status"], shown["is_active"], shown["failure"]) == ("failed", False, "HTTP 410")
    again = await office.ask("POST", f"/webhooks/deliveries/{failed['id']}/retry")
    assert (again.status_code, (await office.ask("POST", f"/webhooks/{gone['id']}/test")).status_code) == (
        409,
        409,
    )


async def test_one_of_somebody_else_does_not_exist(office: Office) -> None:
    webhook = await office.create()
    office.upstream.always(reply({}, 410))
    await office.ask("POST", f"/webhooks/{webhook['id']}/test")
    delivery = await office.finished(webhook)
    path, stranger = f"/webhooks/{webhook['id']}", uuid4()
    asked = (
        ("DELETE", path),
        ("POST", f"{path}/rotate"),
        ("POST", f"{path}/test"),
        ("GET", f"{path}/deliveries"),
        ("POST", f"/webhooks/deliveries/{delivery['id']}/retry"),
    )
    assert [(await office.ask(*one, by=stranger)).status_code for one in asked] == [404] * 5
    assert (await office.ask("GET", "/webhooks", by=stranger)).json() == {"items": []}
    assert (await office.ask("DELETE", path)).status_code == 204
    assert (await office.ask("DELETE", path)).status_code == 404


async def test_webhooks_of_a_user_go_with_him_and_his_jobs_end_all_the_same(office: Office) -> None:
    async with office.database.session() as session:
        await session.execute(_USER, {"id": office.user})
        await session.commit()
    webhook = await office.create()
    job = await office.bench.enqueue(
        errand, Nothing(), submitter=Principal(str(office.user)), webhook_id=UUID(webhook["id"]), delay_s=3600
    )
    async with office.database.session() as session:
        await session.execute(text("DELETE FROM users WHERE id = :id"), {"id": office.user})
        await session.execute(_NOW, {"id": job.id})
        await session.commit()
    assert (await office.ask("GET", "/webhooks")).json()["items"] == []
    async with asyncio.timeout(60):
        assert (await office.bench.ended(job.id)).status == "succeeded"


async def test_there_are_20_at_most_and_no_wrong_ones(office: Office) -> None:
    for url in ("http://169.254.169.254/", "ftp://hook.example/", "https://a:b@hook.example/"):
        assert (await office.ask("POST", "/webhooks", json={"url": url})).status_code == 422
    made = await asyncio.gather(
        *(office.ask("POST", "/webhooks", json={"url": office.upstream.url}) for _ in range(22))
    )
    assert sorted(answer.status_code for answer in made) == [201] * 20 + [409] * 2


async def test_old_deliveries_can_be_deleted_and_what_is_pending_stays(office: Office) -> None:
    webhook = await office.create()
    await office.ask("POST", f"/webhooks/{webhook['id']}/test")
    await office.finished(webhook)
    office.upstream.always(reply({}, 503, retry_after="500"))
    await office.ask("POST", f"/webhooks/{webhook['id']}/test")
    await seen(
        lambda: office.log(webhook), lambda found: found[0]["log"] and found[0]["log"][0]["http_status"]
    )
    async with office.database.session() as session:
        assert await purge_deliveries(session, 1, 1000) == 0
        assert await purge_deliveries(session, 0, 1000) >= 1
        await session.commit()
    assert [one["status"] for one in await office.log(webhook)] == ["pending"]
