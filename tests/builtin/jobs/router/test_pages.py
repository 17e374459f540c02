"""``/ui/jobs``: who may look and act, what is shown, and that it stays text."""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from sqlalchemy import text

from app.builtin.jobs.schemas import JobQuery
from app.builtin.jobs.service import EVERYBODYS, BulkRetry, JobDesk
from app.core.db import Database
from app.core.resilience import ManualClock
from app.registry import FEATURES
from app.settings import Settings
from tests.builtin.jobs.rows import insert_jobs, insert_worker
from tests.builtin.pages.browser import assert_nothing_inline
from tests.gated import Service, bearer, serving

pytestmark = pytest.mark.usefixtures("clean_database")
HOSTILE = "<img src=x onerror=alert(1)>\"'&{{ 7919*7927 }}"
ESCAPED = "&lt;img src=x onerror=alert(1)&gt;&#34;&#39;&amp;{{ 7919*7927 }}"
JOBS = next(feature for feature in FEATURES if feature.name == "jobs")
LOOKS: Mapping[str, str] = bearer(uuid4(), scopes=("read:jobs",))
ACTS: Mapping[str, str] = bearer(uuid4(), scopes=("read:jobs", "write:jobs"))
SECRET = "correct horse battery staple"
REASON = "Another job with its unique key is open."
KEY = text("UPDATE jobs SET unique_key = 'one' WHERE id = ANY(:ids)")
SAYS = text("""
UPDATE jobs SET arguments = CAST(:arguments AS jsonb), result = CAST(:result AS jsonb), note = :note, progress = 0.25,
    started_at = now() - interval '90 seconds' WHERE id = :id
""")


@pytest.fixture(scope="module")
async def service(settings: Settings) -> AsyncIterator[Service]:
    async with serving(settings, JOBS) as service:
        yield service


@pytest.fixture
async def rows(service: Service, database: Database) -> dict[str, UUID]:
    """One job of each kind, and two workers of whom one is silent."""
    found = {
        "dead": (
            await insert_jobs(database, "dead", name="shown", queue="mails", error=HOSTILE, owner=HOSTILE)
        )[0],
        "succeeded": (await insert_jobs(database, "succeeded", name="shown"))[0],
        "queued": (await insert_jobs(database, "queued", name="shown", queue="mails", due_s=-600))[0],
        "running": (await insert_jobs(database, "running", name="shown"))[0],
    }
    said = {"password": SECRET, "to": HOSTILE, "deep": [{"api_key": SECRET}]}
    async with database.session() as session:
        for name in ("running", "dead"):
            values = {
                "arguments": orjson.dumps(said).decode(),
                "result": orjson.dumps(said).decode(),
                "note": HOSTILE,
            }
            await session.execute(SAYS, {"id": found[name], **values})
        await session.commit()
    await insert_worker(database, HOSTILE, "mails")
    await insert_worker(database, "silent:1", "mails", silent_s=9000)
    return found


class Late:
    """A clock by which every look takes an hour."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def time(self) -> float:
        return self._clock.time()

    def monotonic(self) -> float:
        self._clock.advance(3600)
        return self._clock.monotonic()


async def get(service: Service, path: str = "", who: Mapping[str, str] = LOOKS) -> Any:
    return await service.client.get(f"/ui/jobs{path}", headers=who)


def assert_safe(page: str) -> None:
    assert_nothing_inline(page, is_scripted=True)
    assert "<img" not in page
    assert str(7919 * 7927) not in page
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(set(ids)) == len(ids)


class TestTheList:
    async def test_it_shows_queues_workers_and_jobs_and_all_of_it_stays_text(
        self, service: Service, rows: dict[str, UUID]
    ) -> None:
        answer = await get(service, "?name=shown")
        assert answer.status_code == 200
        page = answer.text
        assert_safe(page)
        assert page.count(ESCAPED) == 4  # a worker, an owner, an error, a note
        assert 'href="/ui/jobs?status=dead&amp;queue=mails">dead: 1<' in page
        assert page.count(">silent</span>") == 1
        assert page.count(">alive</span>") == 1
        assert "2 / 4" in page
        assert re.findall(r'id="job-([^"]*)"', page) == [str(it) for it in reversed(rows.values())]
        for status in rows:
            assert f">{status}</span>" in page
        assert "25\u00a0%" in page
        assert "retry-dead" not in page

    async def test_filters_live_in_the_address_and_an_empty_list_says_so(
        self, service: Service, rows: dict[str, UUID]
    ) -> None:
        async def found(query: str) -> list[str]:
            answer = await get(service, f"?{query}")
            assert answer.status_code == 200, query
            return re.findall(r'id="job-([^"]*)"', answer.text)

        assert await found("status=dead&name=&queue=&owner=&since=1h") == [str(rows["dead"])]
        assert await found("queue=mails") == [str(rows["queued"]), str(rows["dead"])]
        assert await found("name=shown&status=succeeded") == [str(rows["succeeded"])]
        assert await found("owner=nobody") == []
        assert await found(f"name=shown&cursor={rows['succeeded']}") == [str(rows["dead"])]
        assert "No job is like that" in (await get(service, "?owner=nobody")).text
        for wrong in ("status=x", "since=2h", "cursor=x", "queue=A", "owner=%00", "other=1"):
            assert (await get(service, f"?{wrong}")).status_code == 422, wrong

    async def test_the_next_page_keeps_the_filter(self, service: Service, database: Database) -> None:
        ids = await insert_jobs(database, "succeeded", 51, queue="many")
        page = (await get(service, "?queue=many&status=succeeded")).text
        assert f'href="/ui/jobs?queue=many&amp;status=succeeded&amp;cursor={ids[1]}"' in page
        last = (await get(service, f"?queue=many&cursor={ids[1]}")).text
        assert re.findall(r'id="job-([^"]*)"', last) == [str(ids[0])]
        assert 'id="older"' not in last
        assert 'href="/ui/jobs?queue=many">Newest' in last


class TestOneJob:
    async def test_all_about_it_without_secrets_and_as_text(
        self, service: Service, rows: dict[str, UUID]
    ) -> None:
        shown = {}
        for name in ("running", "dead"):
            answer = await get(service, f"/{rows[name]}", ACTS)
            assert answer.status_code == 200
            page = shown[name] = answer.text
            assert_safe(page)
            assert SECRET not in page
            assert page.count("[redacted]") == 4
            assert "&lt;img src=x onerror=alert(1)&gt;\\&#34;" in page
            assert ESCAPED in page
        for mark in ('id="live-control"', 'id="cancel-now"'):
            assert (mark in shown["running"], mark in shown["dead"]) == (True, False)
        assert ('id="retry-now"' in shown["running"], 'id="retry-now"' in shown["dead"]) == (False, True)
        assert "Ended: dead" in shown["dead"]
        seen = (await get(service, f"/{rows['dead']}")).text
        assert 'id="retry-now"' not in seen
        assert (await get(service, f"/{uuid4()}")).status_code == 404


class TestActing:
    async def test_only_who_may_act_does_and_a_refusal_names_its_reason(
        self, service: Service, rows: dict[str, UUID], database: Database
    ) -> None:
        queued, done = (await insert_jobs(database, "queued"))[0], rows["succeeded"]

        async def post(path: str, who: Mapping[str, str] = ACTS) -> Any:
            return await service.client.post(f"/ui/jobs/{path}", headers=who, data={})

        for path in (f"{queued}/cancel", f"{queued}/retry", "retry-dead"):
            assert (await post(path, LOOKS)).status_code == 403
        answer = await post(f"{queued}/cancel")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/ui/jobs/{queued}")
        assert ">cancelled</span>" in (await get(service, f"/{queued}")).text
        assert (await post(f"{queued}/retry")).status_code == 303
        assert ">queued</span>" in (await get(service, f"/{queued}")).text
        for act, reason in (("cancel", "has ended already"), ("retry", "this one is succeeded")):
            refused = await post(f"{done}/{act}")
            assert refused.status_code == 409
            assert_nothing_inline(refused.text, is_scripted=True)
            assert re.search(rf'role="alert">[^<]*{reason}', refused.text)
        assert (await post(f"{uuid4()}/cancel")).status_code == 404

    async def test_dead_jobs_of_a_filter_run_again_and_the_answer_says_how_many(
        self, service: Service, database: Database
    ) -> None:
        ids = await insert_jobs(database, "dead", 3, queue="lost")
        others = await insert_jobs(database, "dead", queue="elsewhere")
        page = (await get(service, "?status=dead&queue=lost", ACTS)).text
        assert 'action="/ui/jobs/retry-dead"' in page
        assert '<input type="hidden" name="queue" value="lost">' in page
        answer = await service.client.post("/ui/jobs/retry-dead", headers=ACTS, data={"queue": "lost"})
        assert answer.status_code == 200
        assert "<b>3</b> jobs were queued again" in answer.text
        assert 'href="/ui/jobs?queue=lost&amp;status=dead"' in answer.text
        async with database.session() as session:
            found: dict[UUID, str] = dict(
                (
                    await session.execute(
                        text("SELECT id, status FROM jobs WHERE queue IN ('lost', 'elsewhere')")
                    )
                ).all()
            )
        assert found == {**dict.fromkeys(ids, "queued"), others[0]: "dead"}

    async def test_it_stops_at_its_bound_and_at_its_time_and_one_that_is_refused_stops_no_other(
        self, service: Service, database: Database
    ) -> None:
        ids = await insert_jobs(database, "dead", 3, name="bounded", queue="bounded")
        async with database.session() as session:
            await session.execute(KEY, {"ids": [ids[2]]})
            await session.commit()
        async with database.session() as session:
            await session.execute(KEY, {"ids": await insert_jobs(database, "queued", name="bounded")})
            await session.commit()
        desk, clock = service.platform.require(JobDesk), ManualClock()
        query = JobQuery(queue="bounded")
        ran = await BulkRetry(database, desk, clock, most=2).retry_dead(EVERYBODYS, query)
        assert (ran.done, ran.left) == (1, True)
        assert (ran.refused, ran.reasons) == ({ids[2]: REASON}, {REASON: 1})
        late = await BulkRetry(database, desk, Late(clock)).retry_dead(EVERYBODYS, query)
        assert (late.done, late.refused, late.left) == (0, {}, True)
        rest = await BulkRetry(database, desk, clock).retry_dead(EVERYBODYS, query)
        assert (rest.done, rest.left) == (1, False)
