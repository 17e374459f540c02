"""``require_credits``: held before the handler runs, debited in its transaction, free when anything fails; on real servers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, HTTPException, Response
from fastapi.responses import JSONResponse
from sqlalchemy import text

from app.core.context import RequestContext, reset_context, set_context
from app.core.db import AsyncSession, Database, DatabaseUnavailable, get_db
from app.core.http import APIRouter, Platform, require_credits, require_scope, token_bucket
from app.core.policies import CREDIT, CreditLedger, HoldBook, InsufficientCredits, configure_engine
from app.core.valkey import Cache, ValkeyClient, configure_cache, get_or_set_cache
from app.main import create_app
from app.settings import Settings
from tests.apps import client_of, running
from tests.core.db.conftest import entries  # noqa: F401 - a fixture
from tests.core.http.gated import READER, WRITER, as_, feature
from tests.credited import CREDITS, balance_of, give

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
Db = Annotated[AsyncSession, Depends(get_db)]
READ = Depends(require_scope("read:records"))


class Shop:
    """A running application, a client of it, and what its caller has."""

    def __init__(self, platform: Platform, client: httpx2.AsyncClient) -> None:
        self.platform = platform
        self.client = client

    async def buy(self, path: str = "/things") -> httpx2.Response:
        return await self.client.get(path, headers=as_(READER))

    async def left(self) -> tuple[float, int]:
        """Credits in the ledger, and micro-credits held, once all settlements have been made."""
        await self.platform.admitter.close()
        held = await self.platform.require(HoldBook).held(READER.id)
        return await balance_of(self.platform.database, READER.id) / CREDIT, held


@asynccontextmanager
async def open_shop(settings: Settings, router: APIRouter) -> AsyncIterator[Shop]:
    app = create_app(settings, registry=[CREDITS, feature(router, open_routes={"/*": "guarded by hand"})])
    async with running(app), client_of(app) as client:
        yield Shop(app.state.gatehouse, client)


def served(handler: Callable[..., Any], *dependencies: Any) -> APIRouter:
    router = APIRouter()
    router.add_api_route("/things", handler, dependencies=[READ, *dependencies])
    return router


async def test_it_debits_what_it_held_until_the_balance_ends(settings: Settings, database: Database) -> None:
    @require_credits(amount=2)
    async def things() -> str:
        return "served"

    await give(database, READER.id, 3)
    async with open_shop(settings, served(things)) as shop:
        answers = [await shop.buy() for _ in range(2)]
        assert await shop.left() == (1, 0)
    assert [answer.status_code for answer in answers] == [200, 402]
    problem = answers[1].json()
    assert (problem["required"], problem["available"]) == (2, 1)
    assert "retry-after" not in answers[1].headers


async def test_the_documents_two_decorators_stand_together(settings: Settings, database: Database) -> None:
    @token_bucket(max_tokens=2, refill_rate=0.000_01)
    @require_credits(amount=2)
    async def things() -> str:
        return "served"

    await give(database, READER.id, 100)
    async with open_shop(settings, served(things)) as shop:
        assert [(await shop.buy()).status_code for _ in range(3)] == [200, 200, 429]
        assert await shop.left() == (96, 0)


async def test_the_documents_record_is_cached_inside_and_each_call_is_paid(
    settings: Settings, database: Database, store: ValkeyClient
) -> None:
    made = list[int]()

    @token_bucket(max_tokens=5, refill_rate=0.000_01)
    @require_credits(amount=2)
    async def things() -> dict[str, int]:
        async def fetch_record() -> dict[str, int]:
            made.append(1)
            return {"id": 7}

        return await get_or_set_cache("record:7", fetch_record, expire=300)

    await give(database, READER.id, 9)
    async with open_shop(settings, served(things)) as shop:
        cache = Cache(store)
        configure_cache(cache)
        answers = [await shop.buy() for _ in range(2)]
        assert await shop.left() == (5, 0)
        configure_cache(None)
        await cache.close()
    assert [answer.json() for answer in answers] == [{"id": 7}] * 2
    assert made == [1]


async def test_of_twenty_at_once_ten_are_paid_for(settings: Settings, database: Database) -> None:
    waiting, everybody = list[int](), asyncio.Event()

    @require_credits(amount=1)
    async def things() -> str:
        waiting.append(1)
        await everybody.wait()
        return "served"

    await give(database, READER.id, 10)
    async with open_shop(settings, served(things)) as shop:
        requests = [asyncio.create_task(shop.buy()) for _ in range(20)]
        async with asyncio.timeout(20):
            done, _ = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
            while len(done) < 10:
                done = {request for request in requests if request.done()}
                await asyncio.sleep(0)
        everybody.set()
        answers = await asyncio.gather(*requests)
        assert await shop.left() == (0, 0)
    assert len(waiting) == 10
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in refused} == {429}
    assert {answer.json()["reason"] for answer in refused} == {"credits_held"}
    assert len(refused) == 10


async def _raises() -> None:
    raise HTTPException(404, "no")


async def _breaks() -> None:
    raise ZeroDivisionError


async def _declines() -> Response:
    return JSONResponse({}, status_code=422)


async def _sets_the_status(response: Response) -> dict[str, str]:
    response.status_code = 409
    return {}


async def _answers_nonsense() -> int:
    return "not a number"  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("handler", "status"),
    [(_raises, 404), (_breaks, 500), (_declines, 422), (_sets_the_status, 409), (_answers_nonsense, 500)],
)
async def test_a_request_that_fails_is_free(
    settings: Settings, database: Database, handler: Callable[..., Any], status: int
) -> None:
    await give(database, READER.id, 3)
    async with open_shop(settings, served(require_credits(amount=2)(handler))) as shop:
        assert (await shop.buy()).status_code == status
        assert await shop.left() == (3, 0)


async def _writes(db: Db, *, parent: int) -> None:
    await db.execute(text("INSERT INTO entries VALUES (1, :parent, 'x')"), {"parent": parent})


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize("form", ["decorator", "dependency"])
@pytest.mark.parametrize(("parent", "status", "left"), [(1, 200, 1), (99, 409, 3)])
async def test_the_debit_is_kept_with_what_the_handler_wrote_or_not_at_all(
    settings: Settings, database: Database, form: str, *, parent: int, status: int, left: int
) -> None:
    async def things(db: Db) -> None:
        await _writes(db, parent=parent)

    block = require_credits(amount=2)
    router = served(block(things)) if form == "decorator" else served(things, Depends(block.dependency))
    await give(database, READER.id, 3)
    async with open_shop(settings, router) as shop:
        assert (await shop.buy()).status_code == status
        assert await shop.left() == (left, 0)


class TestDependency:
    async def test_it_refuses_before_the_handler_and_is_free_when_that_raises(
        self, settings: Settings, database: Database
    ) -> None:
        router = served(_raises, Depends(require_credits(amount=2).dependency))
        async with open_shop(settings, router) as shop:
            assert (await shop.buy()).status_code == 402
            await give(database, READER.id, 2)
            await shop.platform.store.execute("FLUSHDB")
            assert (await shop.buy()).status_code == 404
            assert await shop.left() == (2, 0)

    async def test_it_debits_a_handler_that_has_no_session(
        self, settings: Settings, database: Database
    ) -> None:
        async def things() -> str:
            return "served"

        await give(database, READER.id, 2)
        async with open_shop(settings, served(things, Depends(require_credits(amount=2).dependency))) as shop:
            assert (await shop.buy()).status_code == 200
            assert await shop.left() == (0, 0)
            assert shop.platform.database.pool_status().checked_out == 0


async def test_a_sync_handler_is_charged_too(settings: Settings, database: Database) -> None:
    @require_credits(amount=2)
    def things() -> str:
        return "served"

    await give(database, READER.id, 3)
    async with open_shop(settings, served(things)) as shop:
        assert [(await shop.buy()).status_code for _ in range(2)] == [200, 402]
        assert await shop.left() == (1, 0)


async def test_an_anonymous_caller_has_no_account(settings: Settings) -> None:
    @require_credits(amount=2)
    async def things() -> str:
        raise AssertionError("the handler runs")

    router = APIRouter()
    router.add_api_route("/things", things)
    async with open_shop(settings, router) as shop:
        assert (await shop.client.get("/things")).status_code == 401


async def test_an_outage_is_503_and_never_402(make_settings: Callable[..., Settings]) -> None:
    @require_credits(amount=2)
    async def things() -> str:
        raise AssertionError("the handler runs")

    async with open_shop(make_settings(valkey_url="valkey://127.0.0.1:1/0"), served(things)) as shop:
        assert (await shop.buy()).status_code == 503


async def test_outside_a_request_it_debits_in_a_transaction_of_its_own(
    settings: Settings, database: Database
) -> None:
    @require_credits(amount=2)
    async def work() -> str:
        return "done"

    await give(database, READER.id, 3)
    async with open_shop(settings, APIRouter()) as shop:
        configure_engine(shop.platform.engine)
        token = set_context(RequestContext(principal=READER))
        assert await work() == "done"
        assert await shop.left() == (1, 0)
        with pytest.raises(InsufficientCredits):
            await work()
        reset_context(token)
        configure_engine(None)
        assert await balance_of(shop.platform.database, WRITER.id) == 0


async def test_a_debit_that_cannot_be_written_is_no_answer_and_no_charge(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    @require_credits(amount=2)
    async def things() -> str:
        return "served"

    async def away(*_: Any) -> None:
        raise DatabaseUnavailable

    await give(database, READER.id, 3)
    async with open_shop(settings, served(things)) as shop:
        monkeypatch.setattr(shop.platform.services[CreditLedger], "debit", away)
        assert (await shop.buy()).status_code == 503
        assert await shop.left() == (3, 0)


async def test_a_commit_whose_outcome_is_unknown_keeps_the_hold_for_the_sweeper(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    @require_credits(amount=2)
    async def things() -> str:
        return "served"

    async def lost(_: AsyncSession) -> None:
        raise DatabaseUnavailable

    await give(database, READER.id, 3)
    async with open_shop(settings, served(things)) as shop:
        with monkeypatch.context() as patch:
            patch.setattr(AsyncSession, "commit", lost)
            assert (await shop.buy()).status_code == 503
        assert await shop.left() == (3, 2_000_000)
