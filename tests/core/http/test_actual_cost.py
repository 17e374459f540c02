"""``set_cost`` inside a request: the estimate is held, what it took is charged; on real servers."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import BackgroundTasks, Depends, HTTPException
from sqlalchemy import text

from app.core.db import Database, get_db_context
from app.core.errors import ConfigurationError
from app.core.http import APIRouter, api_worker, enforce_all_policies
from app.core.policies import CREDIT, CostRequest, Credits, HoldBook, Idempotency, JobConfig, set_cost
from app.core.valkey import ValkeyClient
from app.main import create_app
from app.registry import Feature
from app.settings import Settings
from tests.apps import client_of, running
from tests.core.http.gated import READER, as_, feature
from tests.credited import CREDITS, balance_of, give
from tests.gated import bearer, serving
from tests.test_docs import ROOT, blocks, module

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


def estimate(request: CostRequest) -> int:
    return int(request.query["most"][0])


def estimated(**options: Any) -> JobConfig:
    return JobConfig(credits=Credits(cost=estimate, settle=options.pop("settle", "strict")), **options)


def served(handler: Callable[..., Any], config: JobConfig, *dependencies: Any) -> APIRouter:
    router = APIRouter()
    gate = enforce_all_policies("things_post", config)
    worker = api_worker(config)(handler)
    router.add_api_route("/things", worker, methods=["POST"], dependencies=[gate, *dependencies])
    return router


async def ask(
    settings: Settings, router: APIRouter, *, most: int, key: str | None = None, times: int = 1
) -> list[httpx2.Response]:
    """The answers, when the application has been stopped: everything is settled and posted by then."""
    app = create_app(settings, registry=[CREDITS, feature(router)])
    headers = as_(READER) | ({"Idempotency-Key": key} if key else {})
    async with running(app), client_of(app) as client:
        return [await client.post(f"/things?most={most}", headers=headers) for _ in range(times)]


async def overage_of(database: Database) -> int:
    query = text("SELECT coalesce(sum(overage_micro), 0) FROM credit_ledger WHERE account_id = :id")
    async with get_db_context(database) as session:
        return int((await session.execute(query, {"id": READER.id})).scalar_one())


async def takes(cost: int = 0, micro: int = 0) -> str:
    set_cost(cost, micro=micro)
    return "served"


async def whole() -> str:
    return await takes(2)


async def part() -> str:
    return await takes(1, 250_000)


async def nothing() -> str:
    return await takes(0)


async def last_word() -> str:
    set_cost(4)
    return await takes(3)


def in_a_thread() -> str:
    set_cost(2)
    return "served"


@pytest.mark.parametrize("settle", ["strict", "batched"])
@pytest.mark.parametrize(
    ("handler", "left"), [(whole, 8), (part, 8.75), (nothing, 10), (last_word, 7), (in_a_thread, 8)]
)
async def test_less_than_the_estimate_is_charged_and_the_rest_is_free_again(
    settings: Settings,
    database: Database,
    store: ValkeyClient,
    *,
    handler: Callable[..., Any],
    left: float,
    settle: str,
) -> None:
    await give(database, READER.id, 10)
    [answer] = await ask(settings, served(handler, estimated(settle=settle)), most=10)
    assert answer.status_code == 200, answer.text
    assert await balance_of(database, READER.id) == left * CREDIT
    assert await HoldBook(store).held(READER.id) == 0


async def test_a_dependency_may_say_what_it_took(settings: Settings, database: Database) -> None:
    async def look_it_up() -> None:
        set_cost(1)

    async def things() -> str:
        return "served"

    await give(database, READER.id, 10)
    await ask(settings, served(things, estimated(), Depends(look_it_up)), most=10)
    assert await balance_of(database, READER.id) == 9 * CREDIT


@pytest.mark.parametrize(("given", "left", "overage"), [(10, 3, 0), (4, 0, 3)])
async def test_more_than_the_estimate_is_charged_as_far_as_the_balance_reaches(
    settings: Settings, database: Database, given: int, left: int, overage: int
) -> None:
    async def things() -> str:
        return await takes(7)

    await give(database, READER.id, given)
    [answer] = await ask(settings, served(things, estimated()), most=1)
    assert answer.status_code == 200
    assert await balance_of(database, READER.id) == left * CREDIT
    assert await overage_of(database) == overage * CREDIT


async def test_an_estimate_of_nothing_stays_free(settings: Settings, database: Database) -> None:
    await give(database, READER.id, 10)
    [answer] = await ask(settings, served(whole, estimated()), most=0)
    assert answer.status_code == 200
    assert await balance_of(database, READER.id) == 10 * CREDIT


async def test_a_replay_costs_nothing_more(settings: Settings, database: Database) -> None:
    config = estimated(idempotency=Idempotency(durability="db"))
    await give(database, READER.id, 10)
    answers = await ask(settings, served(whole, config), most=5, key="k1", times=2)
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"]
    assert await balance_of(database, READER.id) == 8 * CREDIT


@pytest.mark.parametrize("arguments", [{"whole": -1}, {"micro": -1}, {"whole": 1_000_000_001}])
async def test_a_cost_that_cannot_be_is_refused_and_the_estimate_stands(
    settings: Settings, database: Database, arguments: dict[str, int]
) -> None:
    async def things() -> str:
        with pytest.raises(ValueError, match="a cost must be 0 to 1,000,000,000 credits"):
            set_cost(**arguments)
        return "served"

    await give(database, READER.id, 10)
    [answer] = await ask(settings, served(things, estimated()), most=4)
    assert answer.status_code == 200
    assert await balance_of(database, READER.id) == 6 * CREDIT


async def test_without_credits_there_is_nothing_to_say(settings: Settings) -> None:
    async def things() -> str:
        with pytest.raises(ConfigurationError, match="Nothing is charged here"):
            set_cost(1)
        return "served"

    [answer] = await ask(settings, served(things, JobConfig()), most=1)
    assert answer.text == '"served"'
    with pytest.raises(ConfigurationError, match="Nothing is charged here"):
        set_cost(1)


async def test_after_the_answer_it_is_too_late(settings: Settings, database: Database) -> None:
    said = list[str]()

    def late() -> None:
        try:
            set_cost(1)
        except ConfigurationError as error:
            said.append(str(error))

    async def things(tasks: BackgroundTasks) -> str:
        tasks.add_task(late)
        return "served"

    await give(database, READER.id, 10)
    await ask(settings, served(things, estimated()), most=2)
    assert len(said) == 1
    assert await balance_of(database, READER.id) == 8 * CREDIT


async def test_the_pages_example_runs(settings: Settings, database: Database) -> None:
    example = module("search", blocks(ROOT / "docs" / "policies" / "credits.md", "python")[1])
    user = uuid4()
    await give(database, str(user), 10)
    async with serving(settings, CREDITS, Feature(name="search", router=example.router)) as service:
        answers = [
            await service.client.get(f"/search?pages={pages}", headers=bearer(user))
            for pages in ("2", "8", "-1", "many")
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 422, 422]
    assert await balance_of(database, str(user)) == 5 * CREDIT


@pytest.mark.parametrize("settle", ["strict", "batched"])
@pytest.mark.parametrize("cost", [1.5, float("nan"), float("inf"), True, "3", None])
async def test_a_cost_that_is_no_whole_number_is_a_mistake_that_charges_nothing(
    settings: Settings, database: Database, settle: str, cost: Any
) -> None:
    said = list[str]()

    async def things() -> str:
        for options in ({"whole": cost}, {"micro": cost}):
            with pytest.raises(ValueError, match="a cost must be whole credits and millionths") as error:
                set_cost(**options)
            said.append(str(error.value))
        raise HTTPException(404)

    await give(database, READER.id, 10)
    (answer,) = await ask(settings, served(things, estimated(settle=settle)), most=2)
    assert (answer.status_code, len(said)) == (404, 2)
    assert await balance_of(database, READER.id) == 10 * CREDIT
