"""``/heavy-calc`` over HTTP: what is asked before a job is submitted, and what it costs."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import text

from app.core.db import Database
from app.core.policies import CREDIT
from app.core.valkey import ValkeyClient
from app.features.heavy_calc.router import SUBMIT
from app.registry import FEATURES
from app.settings import Settings
from tests.credited import CREDITS, balance_of, give
from tests.gated import Service, bearer, serving

SCOPES, ROLES = ["run:cpu_job"], ["cpu_user"]
SERVED = [feature for feature in FEATURES if feature.name in ("jobs", "heavy_calc")]
_ROWS = text("""
SELECT CAST(id AS text), name, queue, owner, is_charged, arguments, submitter->'roles' FROM jobs WHERE owner = :owner ORDER BY id
""")
SMALL = {"what": "pi", "size": 1000, "seed": 7}


@pytest.fixture(scope="module")
async def service(settings: Settings) -> AsyncIterator[Service]:
    # A bucket that is not full again before a slow machine has asked three times.
    slow = {"POLICIES__HEAVY_CALC__RATE_LIMIT__USER__REFILL_RATE": "0.001"}
    changed = settings.model_copy(update={"policy_variables": slow})
    async with serving(changed, CREDITS, *SERVED) as service:
        yield service


@pytest.fixture
async def ann(database: Database, clean_database: None) -> UUID:
    """Somebody with 25 credits."""
    ann = uuid4()
    await give(database, str(ann), 25)
    return ann


async def post(service: Service, who: dict[str, str], body: Any = None, **headers: str) -> httpx2.Response:
    return await service.client.post("/heavy-calc", json=body or SMALL, headers={**who, **headers})


def user(who: UUID) -> dict[str, str]:
    return bearer(who, scopes=SCOPES, roles=ROLES)


async def rows(database: Database, owner: UUID) -> list[tuple[Any, ...]]:
    async with database.session() as session:
        found = await session.execute(_ROWS, {"owner": str(owner)})
        return [tuple(row) for row in found]


async def test_it_is_submitted_charged_and_found_where_the_answer_says(
    service: Service, database: Database, ann: UUID
) -> None:
    answer = await post(service, user(ann))
    job_id = answer.json()["job_id"]
    assert (answer.status_code, answer.json()) == (202, {"job_id": job_id, "status": "queued"})
    assert (answer.headers["location"], answer.headers["retry-after"]) == (f"/jobs/{job_id}", "1")
    assert await rows(database, ann) == [(job_id, "heavy_calc", "cpu", str(ann), True, SMALL, ROLES)]
    assert await balance_of(database, str(ann)) == 15 * CREDIT
    found = (await service.client.get(answer.headers["location"], headers=user(ann))).json()
    assert (found["status"], found["name"], found["progress"]) == ("queued", "heavy_calc", None)
    cancelled = await service.client.post(f"/jobs/{job_id}/cancel", headers=user(ann))
    assert cancelled.json()["status"] == "cancelled"
    assert await balance_of(database, str(ann)) == 25 * CREDIT
    again = await service.client.post(f"/jobs/{job_id}/retry", headers=user(ann))
    assert again.json()["status"] == "queued"
    assert await balance_of(database, str(ann)) == 15 * CREDIT


async def test_a_key_stands_for_one_job_and_one_price(
    service: Service, database: Database, store: ValkeyClient, ann: UUID
) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    first = await post(service, user(ann), **key)
    await store.execute("FLUSHDB")  # The key is in the database, with the job.
    second = await post(service, user(ann), **key)
    assert first.json() == second.json()
    assert (second.headers["idempotent-replayed"], second.headers["location"]) == (
        "true",
        first.headers["location"],
    )
    assert len(await rows(database, ann)) == 1
    assert await balance_of(database, str(ann)) == 15 * CREDIT
    await store.execute("FLUSHDB")
    other = await post(service, user(ann), {**SMALL, "seed": 8}, **key)
    assert other.status_code == 422


async def test_what_is_refused_costs_nothing_and_submits_nothing(
    service: Service, database: Database, ann: UUID
) -> None:
    for who, body, status in (
        ({}, None, 401),
        (bearer(uuid4(), scopes=SCOPES), None, 403),  # attempts, which count
        (bearer(uuid4(), roles=ROLES), None, 403),
        (user(ann), {"size": 1}, 422),
        (user(ann), {"what": "eigenvalue", "size": 1_000_000}, 422),
        (user(uuid4()), None, 402),
    ):
        assert (await post(service, who, body)).status_code == status, (body, status)
    assert await rows(database, ann) == []
    assert await balance_of(database, str(ann)) == 25 * CREDIT


async def test_two_at_once_and_then_one_a_second(service: Service, database: Database, ann: UUID) -> None:
    (declared,) = SUBMIT.limits
    assert (declared.algorithm, declared.burst, declared.quota / declared.window) == ("token_bucket", 2, 1)
    answers = [await post(service, user(ann)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert len(await rows(database, ann)) == 2
    assert await balance_of(database, str(ann)) == 5 * CREDIT


async def test_only_a_webhook_of_ones_own_is_told(service: Service, database: Database, ann: UUID) -> None:
    made = await service.client.post(
        "/webhooks", json={"url": "https://93.184.216.34/jobs"}, headers=user(ann)
    )
    assert made.status_code == 201, made.text
    hook = made.json()["id"]
    told = await service.client.post(
        "/heavy-calc", json=SMALL, params={"webhook_id": hook}, headers=user(ann)
    )
    assert told.status_code == 202
    async with database.session() as session:
        found = await session.scalar(
            text("SELECT webhook_id FROM jobs WHERE owner = :owner"), {"owner": str(ann)}
        )
    assert str(found) == hook
    foreign = await service.client.post(
        "/heavy-calc", json=SMALL, params={"webhook_id": str(uuid4())}, headers=user(ann)
    )
    assert (foreign.status_code, await balance_of(database, str(ann))) == (422, 15 * CREDIT)
