"""``/jobs`` over HTTP, with a worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx2
import orjson
import pytest

from app.builtin.jobs.service import JobWaits
from app.core.context import Principal
from app.core.db import DatabaseUnavailable
from app.registry import FEATURES
from app.settings import Settings
from tests.apps import served
from tests.builtin.jobs.errands import Errands, Gates, running_errands
from tests.gated import Service, bearer, serving

JOBS = next(feature for feature in FEATURES if feature.name == "jobs")
ANN, BOB = uuid4(), uuid4()
OWNER = bearer(ANN)
LOOKER = bearer(BOB, scopes=["read:jobs"])
OPERATOR = bearer(BOB, scopes=["read:jobs", "write:jobs"])


@pytest.fixture(scope="module")
async def errands(settings: Settings) -> AsyncIterator[Errands]:
    async with running_errands(settings) as errands:
        yield errands


@pytest.fixture(scope="module")
async def service(settings: Settings, errands: Errands) -> AsyncIterator[Service]:
    async with serving(settings, JOBS) as service:
        yield service


@pytest.fixture
async def asks(service: Service) -> AsyncIterator[Any]:
    """``await asks("GET", "/jobs")``: as Ann, unless it says otherwise. Whoever waited is gone afterwards."""

    async def ask(method: str, path: str, who: dict[str, str] = OWNER, **headers: str) -> httpx2.Response:
        return await service.client.request(method, path, headers={**who, **headers})

    yield ask
    assert waiting(service) == 0


def waiting(service: Service) -> int:
    return service.platform.require(JobWaits).waiting


async def until_waiting(service: Service, count: int) -> None:
    while waiting(service) != count:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.005)


async def submit(errands: Errands, **options: Any) -> UUID:
    return await errands.submit(Principal(str(ANN)), **options)


async def running(errands: Errands, word: str) -> UUID:
    job_id = await submit(errands, waits=False, word=word)
    await Gates.began[word].wait()
    return job_id


class TestLooking:
    async def test_the_owner_sees_his_own_and_only_operators_everybodys(
        self, errands: Errands, asks: Any
    ) -> None:
        job_id = await submit(errands)
        own = (await asks("GET", "/jobs?limit=1")).json()
        assert [item["id"] for item in own["items"]] == [str(job_id)]
        assert "result" not in own["items"][0]
        assert (await asks("GET", "/jobs", OPERATOR)).json()["items"] == []
        everybodys = (await asks("GET", "/jobs?all=true&status=queued", LOOKER)).json()
        assert str(job_id) in {item["id"] for item in everybodys["items"]}
        refused = await asks("GET", "/jobs?all=true")
        assert (refused.status_code, refused.json()["missing_scopes"]) == (403, ["read:jobs"])
        page = (await asks("GET", f"/jobs?cursor={job_id}&limit=1")).json()
        assert str(job_id) not in {item["id"] for item in page["items"]}

    async def test_somebody_elses_job_is_404_whatever_is_asked(self, errands: Errands, asks: Any) -> None:
        path = f"/jobs/{await submit(errands)}"
        stranger = bearer(uuid4())
        for method, where in (
            ("GET", path),
            ("GET", f"{path}/events"),
            ("POST", f"{path}/cancel"),
            ("POST", f"{path}/retry"),
        ):
            answer = await asks(method, where, stranger)
            assert (answer.status_code, answer.json()["detail"]) == (404, "Job not found")
        assert (await asks("GET", path, LOOKER)).status_code == 200
        assert (await asks("POST", f"{path}/cancel", LOOKER)).status_code == 404
        assert (await asks("POST", f"{path}/cancel", OPERATOR)).json()["status"] == "cancelled"

    async def test_an_open_job_says_when_to_ask_again_and_what_is_known_is_not_sent_twice(
        self, errands: Errands, asks: Any
    ) -> None:
        job_id = await running(errands, "tagged")
        first = await asks("GET", f"/jobs/{job_id}")
        assert first.json()["status"] == "running"
        assert 1 <= int(first.headers["retry-after"]) <= 5
        Gates.open["tagged"].set()
        await errands.ended(job_id)
        ended = await asks("GET", f"/jobs/{job_id}", **{"If-None-Match": first.headers["etag"]})
        assert (ended.status_code, ended.json()["result"], ended.json()["progress"]) == (
            200,
            {"word": "tagged"},
            1.0,
        )
        assert "retry-after" not in ended.headers
        tag = ended.headers["etag"]
        known = await asks("GET", f"/jobs/{job_id}", **{"If-None-Match": f'"other", {tag}'})
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
        for weak in (f"W/{tag}", f'W/"other",W/{tag}', "*"):
            assert (await asks("GET", f"/jobs/{job_id}", **{"If-None-Match": weak})).status_code == 304


class TestWaiting:
    async def test_it_answers_as_soon_as_the_job_has_ended(self, errands: Errands, asks: Any) -> None:
        job_id = await running(errands, "awaited")
        waiters = [asyncio.create_task(asks("GET", f"/jobs/{job_id}?wait=30")) for _ in range(3)]
        Gates.open["awaited"].set()
        answers = [await waiter for waiter in waiters]
        assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [
            (200, "succeeded")
        ] * 3
        again = await asks("GET", f"/jobs/{job_id}?wait=30")
        assert again.json() == answers[0].json()

    async def test_a_wait_holds_no_connection_and_is_over_when_nobody_listens(
        self, errands: Errands, service: Service, asks: Any
    ) -> None:
        job_id = await submit(errands)
        async with (
            served(service.app) as port,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
        ):
            waiter = asyncio.create_task(client.get(f"/jobs/{job_id}?wait=30", headers=OWNER))
            await until_waiting(service, 1)
            while service.platform.database.pool_status().checked_out:  # noqa: ASYNC110 - one asks for all who wait, now and then
                await asyncio.sleep(0.001)
            waiter.cancel()
            await asyncio.gather(waiter, return_exceptions=True)
            await until_waiting(service, 0)

    async def test_one_caller_waits_for_sixteen_jobs_at_a_time(
        self, errands: Errands, service: Service, asks: Any
    ) -> None:
        job_id = await submit(errands)
        waiters = [asyncio.create_task(asks("GET", f"/jobs/{job_id}?wait=30")) for _ in range(16)]
        await until_waiting(service, 16)
        for path in (f"/jobs/{job_id}?wait=1", f"/jobs/{job_id}/events"):
            refused = await asks("GET", path)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
            assert refused.json()["violated-policies"] == ["job_waits"]
        assert (await asks("GET", f"/jobs/{job_id}")).status_code == 200
        assert (await asks("POST", f"/jobs/{job_id}/cancel")).json()["status"] == "cancelled"
        assert {(await waiter).json()["status"] for waiter in waiters} == {"cancelled"}


class TestEvents:
    async def test_they_tell_how_it_stands_what_changes_and_its_end(
        self, errands: Errands, service: Service, asks: Any
    ) -> None:
        job_id = await running(errands, "told")
        async with following(service, job_id) as events:
            first = await anext(events)
            assert (first["event"], first["data"]["status"], first["retry"]) == ("status", "running", "2000")
            Gates.open["told"].set()
            rest = [event async for event in events]
        assert {event["event"] for event in rest[:-1]} <= {"progress"}
        assert (rest[-1]["event"], rest[-1]["data"]["result"]) == ("end", {"word": "told"})
        once = [
            event
            async for event in parsed(await asks("GET", f"/jobs/{job_id}/events", **{"Last-Event-ID": "x"}))
        ]
        assert once == [rest[-1]]

    async def test_a_caller_who_leaves_frees_his_seat(
        self, errands: Errands, service: Service, asks: Any
    ) -> None:
        job_id = await submit(errands)
        async with following(service, job_id) as events:
            assert (await anext(events))["data"]["status"] == "queued"
            assert waiting(service) == 1
            while service.platform.database.pool_status().checked_out:  # noqa: ASYNC110 - one asks for all who wait, now and then
                await asyncio.sleep(0.001)
            assert waiting(service) == 1
        await until_waiting(service, 0)


class TestOutage:
    async def test_waits_are_503_and_streams_say_why_they_end(
        self, errands: Errands, service: Service, asks: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = await submit(errands)

        async def fail(*_: object) -> None:
            raise DatabaseUnavailable

        monkeypatch.setattr(service.platform.database, "fetch", fail)
        refused = await asks("GET", f"/jobs/{job_id}?wait=30")
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert int(refused.headers["retry-after"]) >= 1
        events = [event async for event in parsed(await asks("GET", f"/jobs/{job_id}/events"))]
        assert [(event["event"], event["data"]["status"]) for event in events] == [
            ("status", "queued"),
            ("problem", 503),
        ]


class TestChanging:
    async def test_cancel_and_retry(self, errands: Errands, asks: Any) -> None:
        job_id = await running(errands, "ended")
        path = f"/jobs/{job_id}"
        assert (await asks("POST", f"{path}/retry")).status_code == 409
        asked = await asks("POST", f"{path}/cancel")
        assert (asked.status_code, asked.json()["status"]) == (202, "running")
        ended = await asks("GET", f"{path}?wait=30")
        assert (ended.json()["status"], ended.json()["result"]) == ("cancelled", None)
        Gates.open["ended"].set()
        again = await asks("POST", f"{path}/retry")
        assert (again.status_code, again.json()["status"], again.json()["attempts"]) == (202, "queued", 0)
        assert (await asks("GET", f"{path}?wait=30")).json()["status"] == "succeeded"
        refused = await asks("POST", f"{path}/cancel")
        assert (refused.status_code, refused.json()["job_status"]) == (409, "succeeded")
        assert refused.json()["detail"] == "The job has ended already: it is succeeded."


@asynccontextmanager
async def following(service: Service, job_id: UUID) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The events of a job as they come, over a socket."""
    async with (
        served(service.app) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
        client.stream("GET", f"/jobs/{job_id}/events", headers=OWNER) as answer,
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (
            200,
            "text/event-stream; charset=utf-8",
        )
        yield parsed(answer)


async def parsed(answer: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    event: dict[str, Any] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if name:
            event[name] = orjson.loads(value) if name == "data" else value
        elif event:
            yield event
            event = {}
