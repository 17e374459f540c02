"""Document 001: the plans for database, I/O and CPU endpoints."""

# ruff: noqa: B008 - Depends(...) as a default, as the documents write it

import asyncio
import logging
import threading
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import Depends, HTTPException, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from app.core import (
    APIRouter,
    CurrentPrincipal,
    JobConfig,
    RateLimit,
    Security,
    api_worker,
    enforce_all_policies,
)
from app.core.db import AsyncSession, Database, get_db
from app.core.http import (
    LimitBlock,
    debounce,
    fixed_window,
    require_credits,
    require_scope,
    roles_required,
    sliding_window,
    throttle,
    token_bucket,
    token_bucket_limiter,
)
from app.core.jobs import publish_job_to_pulsar
from app.core.observability import get_tracer, record_db_latency
from app.core.policies import CREDIT
from app.core.resilience import retry_decorator
from app.features.heavy_calc.jobs import heavy_calc
from app.features.heavy_calc.schemas import HeavyJobInput
from app.registry import FEATURES, Feature
from app.settings import Settings
from tests.credited import CREDITS, balance_of, give
from tests.gated import bearer, serving
from tests.requirements.conftest import Serve
from tests.requirements.shop import Item, User

JOBS = next(feature for feature in FEATURES if feature.name == "jobs")


class MyInput(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str


class MyOutput(BaseModel):
    length: int


class UserInDB(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: UUID
    email: str


class RecordQuery(BaseModel):
    id: int
    filter: str | None = None


def my_endpoint_with(config: JobConfig) -> tuple[APIRouter, list[str]]:
    """The document's endpoint under this config, and what its handler was called with."""
    router, calls = APIRouter(), list[str]()
    my_endpoint_policy = enforce_all_policies("my_endpoint", config)

    @router.post("/my-endpoint", response_model=MyOutput, dependencies=[my_endpoint_policy])
    @api_worker(config)
    async def my_endpoint(given: MyInput) -> dict[str, int]:
        calls.append(given.text)
        return {"length": len(given.text)}

    return router, calls


async def test_001_01_one_config_a_gate_and_a_worker_are_the_whole_pattern(serve: Serve) -> None:
    router, calls = my_endpoint_with(JobConfig())
    async with serve(router) as service:
        good = await service.client.post("/my-endpoint", json={"text": "four"}, headers=bearer(uuid4()))
        wrong = await service.client.post("/my-endpoint", json={"text": 4}, headers=bearer(uuid4()))
        unknown = await service.client.post("/my-endpoint", json={"text": "four"})
        shown = (await service.client.get("/metrics")).text
    assert (good.status_code, good.json()) == (200, {"length": 4})
    assert good.headers["ratelimit-policy"] == '"user";q=600;w=60'
    assert (wrong.status_code, unknown.status_code) == (422, 401)
    assert calls == ["four"]
    assert 'api_latency_seconds_count{endpoint="my_endpoint"} 1.0' in shown


async def test_001_02_a_database_endpoint_checks_scope_and_role_by_its_config(
    serve: Serve, shop: UUID
) -> None:
    config = JobConfig(security=Security(scopes=("read:records",), roles=("db_reader",)))
    router = APIRouter()
    db_worker_policy = enforce_all_policies("db_worker_endpoint", config)

    @router.post("/db_worker_endpoint", response_model=UserInDB, dependencies=[db_worker_policy])
    @api_worker(config)
    async def db_worker_endpoint(db: Annotated[AsyncSession, Depends(get_db)], user_id: UUID) -> User | None:
        return await db.get(User, user_id)

    callers = [(["read:records"], ["db_reader"]), (["read:records"], []), ([], ["db_reader"])]
    async with serve(router) as service:
        answers = [
            await service.client.post(
                f"/db_worker_endpoint?user_id={shop}", headers=bearer(uuid4(), scopes=scopes, roles=roles)
            )
            for scopes, roles in callers
        ]
    assert [answer.status_code for answer in answers] == [200, 403, 403]
    assert answers[0].json() == {"id": str(shop), "email": "ann@example.com"}


async def test_001_03_an_io_endpoint_that_waits_too_long_is_504_by_its_config(serve: Serve) -> None:
    config = JobConfig(timeout=0.05, security=Security(scopes=("read:external",), roles=("io_user",)))
    router, cancelled = APIRouter(), list[bool]()
    io_policy = enforce_all_policies("io_endpoint", config)

    @router.get("/external-data", dependencies=[io_policy])
    @api_worker(config)
    async def fetch_external_data(query: str) -> str:
        try:
            await asyncio.Event().wait() if query == "slow" else None
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return query

    headers = bearer(uuid4(), scopes=["read:external"], roles=["io_user"])
    async with serve(router) as service:
        quick = await service.client.get("/external-data?query=quick", headers=headers)
        slow = await service.client.get("/external-data?query=slow", headers=headers)
    assert (quick.status_code, quick.json()) == (200, "quick")
    assert (slow.status_code, slow.json()["policy"]) == (504, "io_endpoint")
    assert cancelled == [True]


async def test_001_04_a_cpu_endpoint_runs_off_the_loop_within_its_bucket(serve: Serve) -> None:
    config = JobConfig(
        security=Security(scopes=("run:cpu_job",), roles=("cpu_user",)),
        rate_limit=RateLimit.token_bucket(max_tokens=2, refill_rate=0.001),
    )
    router, threads = APIRouter(), list[int]()
    cpu_worker_policy = enforce_all_policies("cpu_worker_endpoint", config)

    @router.post("/cpu_worker_endpoint", dependencies=[cpu_worker_policy])
    @api_worker(config)
    def submit_heavy_job(caller: CurrentPrincipal) -> str:
        threads.append(threading.get_ident())
        return caller.id

    user = uuid4()
    headers = bearer(user, scopes=["run:cpu_job"], roles=["cpu_user"])
    async with serve(router) as service:
        answers = [await service.client.post("/cpu_worker_endpoint", headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].json() == str(user)
    assert threading.get_ident() not in threads


async def test_001_05_input_is_a_strict_model(serve: Serve) -> None:
    config = JobConfig.public()
    router = APIRouter()

    @router.get("/records", dependencies=[enforce_all_policies("records", config)])
    @api_worker(config)
    async def read(query: Annotated[RecordQuery, Query()]) -> RecordQuery:
        return query

    async with serve(router) as service:
        good = await service.client.get("/records?id=7")
        wrong = [await service.client.get(f"/records?{query}") for query in ("id=x", "filter=y", "id=7;drop")]
    assert good.json() == {"id": 7, "filter": None}
    assert [answer.status_code for answer in wrong] == [422, 422, 422]
    assert wrong[0].json()["errors"][0]["loc"] == ["query", "id"]


async def test_001_06_user_input_is_a_parameter_and_never_sql(shop: UUID, database: Database) -> None:
    async with database.session() as db:
        for user_input, found in (("pen", 1), ("' OR '1'='1", 0), ("'; DROP TABLE shop.items; --", 0)):
            result = await db.execute(select(Item).where(Item.name == user_input))
            assert len(result.scalars().all()) == found
        assert len((await db.scalars(select(Item))).all()) == 2


@pytest.mark.parametrize(
    ("limit", "passing"),
    [
        (token_bucket(max_tokens=5, refill_rate=0.001), 5),
        (debounce(interval=2000), 1),
        (fixed_window(limit=3, window=31_000_000), 3),
        (sliding_window(limit=3, window=86_400), 3),
        (throttle(rate=2, per=2000), 1),
    ],
    ids=["token_bucket", "debounce", "fixed_window", "sliding_window", "throttle"],
)
async def test_001_07_a_limit_and_a_price_stand_over_a_handler(
    settings: Settings,
    database: Database,
    clean_store: None,
    clean_database: None,
    limit: LimitBlock,
    *,
    passing: int,
) -> None:
    router = APIRouter()

    @router.get("/records/{record_id}")
    @limit
    @require_credits(amount=2)
    async def get_record(
        record_id: int,
        user: Any = Depends(require_scope("read:records")),
        roles: Any = Depends(roles_required(["db_reader"])),
    ) -> dict[str, Any]:
        return {"id": record_id, "owner": user.id, "same": user == roles}

    ann = uuid4()
    await give(database, str(ann), 20)
    headers = bearer(ann, scopes=["read:records"], roles=["db_reader"])
    feature = Feature(name="records", router=router, open_routes={"/records/{record_id}": "guarded by hand"})
    async with serving(settings, CREDITS, feature) as service:
        answers = [await service.client.get("/records/7", headers=headers) for _ in range(6)]
        wrong = await service.client.get("/records/7", headers=bearer(ann, scopes=["read:records"]))
    assert [answer.status_code for answer in answers] == [200] * passing + [429] * (6 - passing)
    assert answers[0].json() == {"id": 7, "owner": str(ann), "same": True}
    assert wrong.status_code == 403
    assert await balance_of(database, str(ann)) == (20 - 2 * passing) * CREDIT


async def test_001_08_a_logged_and_raised_500_is_a_problem_that_tells_nothing_more(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class MyDbException(Exception):
        pass

    async def some_db_call() -> None:
        raise MyDbException("relation secret_table does not exist")

    config = JobConfig.public()
    router = APIRouter()

    @router.get("/records", dependencies=[enforce_all_policies("records", config)])
    @api_worker(config)
    async def read() -> None:
        try:
            await some_db_call()
        except MyDbException as exc:
            logging.error(f"DB error: {exc}")  # noqa: G004, LOG015, TRY400 - as the document writes it
            raise HTTPException(status_code=500, detail="Database error") from exc

    async with serve(router) as service:
        answer = await service.client.get("/records")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert (answer.json()["detail"], answer.json()["title"]) == ("Database error", "Internal Server Error")
    assert "secret_table" not in answer.text
    assert "DB error: relation secret_table does not exist" in caplog.text


async def test_001_09_a_call_is_timed_and_traced(serve: Serve, database: Database) -> None:
    tracer = get_tracer(__name__)
    config = JobConfig.public()
    router = APIRouter()

    @router.get("/records", dependencies=[enforce_all_policies("records", config)])
    @api_worker(config)
    async def read() -> int:
        async with record_db_latency("requirement_001_09"):
            with tracer.start_as_current_span("db_query"):
                async with database.connect() as connection:
                    return int(await connection.scalar(select(1)) or 0)

    async with serve(router) as service:
        assert (await service.client.get("/records")).json() == 1
        shown = (await service.client.get("/metrics")).text
    assert 'db_latency_seconds_count{operation="requirement_001_09"} 1.0' in shown


async def test_001_11_an_io_endpoint_is_tried_three_times_within_its_bucket(serve: Serve) -> None:
    router, tries = APIRouter(), list[str]()

    @router.get("/external-data")
    @token_bucket(max_tokens=5, refill_rate=0.001)
    @retry_decorator(max_attempts=3)
    async def fetch_external_data(
        query: str,
        user: Any = Depends(require_scope("read:external")),
        roles: Any = Depends(roles_required(["io_user"])),
    ) -> str:
        tries.append(query)
        if query == "broken" or len(tries) < 3:
            raise ConnectionError("the upstream's own words")
        return f"{query} for {user.id}, {roles.id}"

    ann = uuid4()
    headers = bearer(ann, scopes=["read:external"], roles=["io_user"])
    async with serve(router, open_routes={"/external-data": "guarded by hand"}) as service:
        good = await service.client.get("/external-data?query=x", headers=headers)
        assert tries == ["x"] * 3
        broken = await service.client.get("/external-data?query=broken", headers=headers)
        assert tries == ["x"] * 3 + ["broken"] * 3
        rest = [await service.client.get("/external-data?query=x", headers=headers) for _ in range(4)]
    assert (good.status_code, good.json()) == (200, f"x for {ann}, {ann}")
    assert broken.status_code == 500
    assert "own words" not in broken.text
    assert [answer.status_code for answer in rest] == [200, 200, 200, 429]


async def test_001_12_a_cpu_endpoint_publishes_a_job_and_gives_back_its_id(
    settings: Settings, database: Database, clean_store: None, clean_database: None
) -> None:
    router = APIRouter()

    @router.post("/heavy-calc")
    @token_bucket_limiter(max_tokens=2, refill_rate=0.001)
    @require_credits(amount=10)
    async def submit_heavy_job(
        payload: HeavyJobInput,
        user: Any = Depends(require_scope("run:cpu_job")),
        roles: Any = Depends(roles_required(["cpu_user"])),
    ) -> dict[str, Any]:
        job_id = await publish_job_to_pulsar(payload, user.id)
        return {"job_id": job_id, "status": "queued"}

    ann = uuid4()
    await give(database, str(ann), 100)
    headers = bearer(ann, scopes=["run:cpu_job"], roles=["cpu_user"])
    feature = Feature(
        name="heavy", router=router, jobs=(heavy_calc,), open_routes={"/heavy-calc": "guarded by hand"}
    )
    async with serving(settings, CREDITS, JOBS, feature) as service:

        async def post(headers: dict[str, str], **body: Any) -> httpx2.Response:
            return await service.client.post("/heavy-calc", json=body, headers=headers)

        answers = [await post(headers, size=1000) for _ in range(3)]
        wrong = [await post(bearer(ann, scopes=["run:cpu_job"])), await post(bearer(ann, roles=["cpu_user"]))]
        refused = await post(bearer(uuid4(), scopes=["run:cpu_job"], roles=["cpu_user"]), size="many")
        job_id = answers[0].json()["job_id"]
        job = (await service.client.get(f"/jobs/{job_id}", headers=headers)).json()
        own = (await service.client.get("/jobs", headers=headers)).json()["items"]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].json() == {"job_id": job_id, "status": "queued"}
    assert [answer.status_code for answer in (*wrong, refused)] == [403, 403, 422]
    assert (job["name"], job["owner"], job["status"]) == ("heavy_calc", str(ann), "queued")
    assert [item["id"] for item in own] == [answer.json()["job_id"] for answer in answers[1::-1]]
    assert await balance_of(database, str(ann)) == 80 * CREDIT


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 200),
        ({"security": Security(scopes=("write:records",))}, 403),
        ({"security": Security(roles=("admin",))}, 403),
        ({"rate_limit": RateLimit.fixed_window(limit=1, window=31_000_000, cost=0)}, 200),
        ({"max_body": 5}, 413),
        ({"timeout": 1e-9}, 504),
    ],
    ids=str,
)
async def test_001_line_37_just_update_the_config(serve: Serve, changes: dict[str, Any], status: int) -> None:
    router, calls = my_endpoint_with(replace(JobConfig(), **changes))
    async with serve(router) as service:
        answer = await service.client.post("/my-endpoint", json={"text": "four"}, headers=bearer(uuid4()))
    assert answer.status_code == status
    assert calls == (["four"] if status == 200 else [])


async def test_001_line_113_a_handler_is_testable_without_any_of_it() -> None:
    config = JobConfig(security=Security(scopes=("read:records",)))

    @api_worker(config)
    async def double(number: int) -> int:
        return 2 * number

    assert await double(21) == 42


async def test_001_line_320_only_if_all_policies_pass_does_the_handler_run(serve: Serve) -> None:
    limits = (
        RateLimit.fixed_window("user", limit=5, window=31_000_000, charge="admit"),
        RateLimit.fixed_window("route", limit=2, window=31_000_000, scope="route", charge="admit"),
    )
    router, calls = my_endpoint_with(JobConfig(rate_limit=limits))
    async with serve(router) as service:
        answers = [
            await service.client.post("/my-endpoint", json={"text": "x"}, headers=bearer(uuid4()))
            for _ in range(4)
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert answers[2].json()["violated-policies"] == ["route"]
    assert len(calls) == 2
