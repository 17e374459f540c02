"""Idempotent requests through the whole gate, on real servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, HTTPException, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database, get_db
from app.core.errors import ConfigurationError, NotFound
from app.core.http import APIRouter, AuditError, api_worker, enforce_all_policies
from app.core.http._exchange import BrokenResponseError
from app.core.policies import Idempotency, JobConfig, RateLimit, Security
from app.settings import Settings
from tests.core.http.gated import NOBODY, READER, WRITER, as_, routed

pytestmark = pytest.mark.usefixtures("clean_store")


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")
    item: str


class Shop:
    """A router whose handler counts how often it ran, and does what a test says."""

    def __init__(self, policy: Idempotency, **config: Any) -> None:
        self.runs = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = asyncio.Event()
        self.outcome: Any = None
        self.router = APIRouter()
        self.config = JobConfig(idempotency=policy, **config)
        dependencies = [enforce_all_policies("orders", self.config)]

        @self.router.post("/orders", dependencies=dependencies, status_code=201)
        @api_worker(self.config)
        async def order(order: Order, response: Response) -> Any:
            return await self._order(order, response)

        @self.router.post("/{shop}/orders", dependencies=dependencies)
        @api_worker(self.config)
        async def order_elsewhere(shop: str, order: Order, response: Response) -> Any:
            return await self._order(order, response)

    async def _order(self, order: Order, response: Response) -> Any:
        self.runs += 1
        self.started.set()
        await self.gate.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if self.outcome is not None:
            return self.outcome
        response.headers["Location"] = f"/orders/{self.runs}"
        response.headers["Set-Cookie"] = "a=b"
        response.headers["X-Shop"] = "corner"
        return {"item": order.item, "run": self.runs}

    @asynccontextmanager
    async def open(self, settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
        async with routed(settings, self.router) as client:
            yield client


def key(value: str, principal: Any = READER) -> dict[str, str]:
    return {**as_(principal), "Idempotency-Key": value}


ORDER = {"item": "tea"}


class TestReplay:
    async def test_the_second_answer_is_the_first_byte_for_byte(self, settings: Settings) -> None:
        shop = Shop(Idempotency())
        async with shop.open(settings) as client:
            first = await client.post("/orders", json=ORDER, headers=key("k1"))
            second = await client.post("/orders", json=ORDER, headers=key("k1"))
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.content == second.content
        assert shop.runs == 1
        assert second.headers["idempotent-replayed"] == "true"
        assert "idempotent-replayed" not in first.headers
        assert second.headers["location"] == first.headers["location"]
        assert second.headers["content-type"] == first.headers["content-type"]

    async def test_only_allowed_headers_are_repeated(self, settings: Settings) -> None:
        shop = Shop(Idempotency(headers=("X-Shop",)))
        async with shop.open(settings) as client:
            first = await client.post("/orders", json=ORDER, headers=key("k1"))
            second = await client.post("/orders", json=ORDER, headers=key("k1"))
        assert "set-cookie" in first.headers
        assert "set-cookie" not in second.headers
        assert second.headers["x-shop"] == "corner"
        assert second.headers["x-request-id"] != first.headers["x-request-id"]

    async def test_fifty_at_once_run_once(self, settings: Settings) -> None:
        shop = Shop(Idempotency(), rate_limit=None)
        shop.gate.clear()
        async with shop.open(settings) as client:
            calls = [
                asyncio.create_task(client.post("/orders", json=ORDER, headers=key("k1"))) for _ in range(50)
            ]
            done: set[Any] = set()
            while len(done) < 49:
                done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.sleep(0)
            shop.gate.set()
            answers = await asyncio.gather(*calls)
            replay = await client.post("/orders", json=ORDER, headers=key("k1"))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 49
        first = next(answer for answer in answers if answer.status_code == 201)
        refused = next(answer for answer in answers if answer.status_code == 409)
        assert int(refused.headers["retry-after"]) >= 1
        assert replay.content == first.content
        assert shop.runs == 1

    async def test_a_replay_is_charged_unless_it_is_said_to_be_free(self, settings: Settings) -> None:
        for cost, left in ((1, 8), (0, 9)):
            shop = Shop(
                Idempotency(replay_cost=cost),  # type: ignore[arg-type]
                rate_limit=RateLimit.fixed_window(f"user{cost}", limit=10, window=86_400 * 300),
            )
            async with shop.open(settings) as client:
                await client.post("/orders", json=ORDER, headers=key(f"cost-{cost}"))
                again = await client.post("/orders", json=ORDER, headers=key(f"cost-{cost}"))
            assert f"r={left}" in again.headers["ratelimit"]

    async def test_a_body_too_long_to_keep_is_done_once_and_not_repeated(self, settings: Settings) -> None:
        shop = Shop(Idempotency(max_body=10))
        async with shop.open(settings) as client:
            await client.post("/orders", json=ORDER, headers=key("k1"))
            again = await client.post("/orders", json=ORDER, headers=key("k1"))
        assert again.status_code == 409
        assert again.json()["reason"] == "result_not_retained"
        assert again.headers["location"] == "/orders/1"
        assert shop.runs == 1

    async def test_a_sealed_result_is_repeated_and_unreadable_in_the_store(
        self, settings: Settings, store: Any
    ) -> None:
        shop = Shop(Idempotency(), encryption=True)
        async with shop.open(settings) as client:
            await client.post("/orders", json={"item": "secret-tea"}, headers=key("k1"))
            again = await client.post("/orders", json={"item": "secret-tea"}, headers=key("k1"))
        assert again.json()["item"] == "secret-tea"
        keys = await store.execute("KEYS", "*:v1:i:*")
        assert keys
        assert b"secret-tea" not in await store.execute("GET", keys[0])


class TestScope:
    async def test_another_caller_with_the_same_key_is_another_request(self, settings: Settings) -> None:
        shop = Shop(Idempotency())
        async with shop.open(settings) as client:
            mine = await client.post("/orders", json=ORDER, headers=key("k1"))
            other = await client.post("/orders", json=ORDER, headers=key("k1", WRITER))
        assert (mine.json()["run"], other.json()["run"]) == (1, 2)

    async def test_another_route_of_the_same_gate_is_another_request(self, settings: Settings) -> None:
        shop = Shop(Idempotency())
        async with shop.open(settings) as client:
            await client.post("/orders", json=ORDER, headers=key("k1"))
            other = await client.post("/corner/orders", json=ORDER, headers=key("k1"))
            path = await client.post("/market/orders", json=ORDER, headers=key("k1"))
        assert other.json()["run"] == 2
        assert path.status_code == 422

    async def test_a_caller_who_lost_his_scope_gets_no_replay(self, settings: Settings) -> None:
        shop = Shop(Idempotency(), security=Security(scopes=("read:records",)))
        async with shop.open(settings) as client:
            await client.post("/orders", json=ORDER, headers=key("k1"))
            refused = await client.post("/orders", json=ORDER, headers=key("k1", NOBODY))
            anonymous = await client.post("/orders", json=ORDER, headers={"Idempotency-Key": "k1"})
        assert (refused.status_code, anonymous.status_code) == (403, 401)


class TestFingerprint:
    async def test_another_body_under_the_same_key_is_422(self, settings: Settings) -> None:
        shop = Shop(Idempotency())
        async with shop.open(settings) as client:
            await client.post("/orders", json=ORDER, headers=key("k1"))
            other = await client.post("/orders", json={"item": "milk"}, headers=key("k1"))
            spaced = await client.post(
                "/orders",
                content=b'{"item":  "tea"}',
                headers={**key("k1"), "Content-Type": "application/json"},
            )
            query = await client.post("/orders?gift=1", json=ORDER, headers=key("k1"))
        assert [a.status_code for a in (other, spaced, query)] == [422, 422, 422]
        assert shop.runs == 1

    async def test_the_order_of_query_parameters_does_not_matter(self, settings: Settings) -> None:
        shop = Shop(Idempotency())
        async with shop.open(settings) as client:
            await client.post("/orders?a=1&b=2", json=ORDER, headers=key("k1"))
            again = await client.post("/orders?b=2&a=1", json=ORDER, headers=key("k1"))
        assert again.headers["idempotent-replayed"] == "true"

    async def test_a_multipart_body_is_the_same_with_another_boundary(self, settings: Settings) -> None:
        config = JobConfig(idempotency=Idempotency())
        router, runs = APIRouter(), []

        @router.post("/files", dependencies=[enforce_all_policies("files", config)])
        @api_worker(config)
        async def upload() -> dict[str, int]:
            runs.append(1)
            return {"runs": len(runs)}

        async with routed(settings, router) as client:
            answers = [
                await client.post(
                    "/files",
                    content=f'--{b}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--{b}--\r\n'.encode(),
                    headers={**key("k1"), "Content-Type": f"multipart/form-data; boundary={b}"},
                )
                for b in ("aaaa", "bbbb")
            ]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert len(runs) == 1


class TestKey:
    @pytest.mark.parametrize("bad", ["", "a b", '"open', '"a"b"', "x" * 256, '"\\x"', "é"])
    async def test_a_malformed_key_is_400(self, settings: Settings, bad: str) -> None:
        shop = Shop(Idempotency())
        async with shop.open(settings) as client:
            headers = [
                (b"authorization", b"Bearer reader"),
                (b"idempotency-key", bad.encode("latin-1")),
            ]
            answer = await client.post("/orders", json=ORDER, headers=headers)
        assert answer.status_code == 400
        assert shop.runs == 0

    async def test_two_header_lines_are_400(self, settings: Settings) -> None:
        shop = Shop(Idempotency())
        async with shop.open(settings) as client:
            headers = [
                (b"authorization", b"Bearer reader"),
                (b"idempotency-key", b"a"),
                (b"idempotency-key", b"b"),
            ]
            answer = await client.post("/orders", json=ORDER, headers=headers)
        assert answer.status_code == 400

    async def test_quoted_and_bare_are_the_same_key(self, settings: Settings) -> None:
        shop = Shop(Idempotency())
        async with shop.open(settings) as client:
            await client.post("/orders", json=ORDER, headers=key("k1"))
            again = await client.post("/orders", json=ORDER, headers=key('"k1"'))
        assert again.headers["idempotent-replayed"] == "true"

    async def test_a_missing_key_is_400_only_where_it_is_required(self, settings: Settings) -> None:
        for required, status in ((True, 400), (False, 201)):
            shop = Shop(Idempotency(required=required))
            async with shop.open(settings) as client:
                answer = await client.post("/orders", json=ORDER, headers=as_(READER))
            assert answer.status_code == status
            assert ("link" in answer.headers) is required


class TestWhatIsNoResult:
    async def test_after_a_422_the_same_key_may_send_the_right_body(self, settings: Settings) -> None:
        shop = Shop(Idempotency())
        async with shop.open(settings) as client:
            wrong = await client.post("/orders", json={"itm": "tea"}, headers=key("k1"))
            right = await client.post("/orders", json=ORDER, headers=key("k1"))
        assert (wrong.status_code, right.status_code) == (422, 201)

    @pytest.mark.parametrize("status", [401, 403, 409, 429, 503])
    async def test_a_refusal_of_the_moment_is_not_kept(self, settings: Settings, status: int) -> None:
        shop = Shop(Idempotency())
        shop.outcome = HTTPException(status, "not now")
        async with shop.open(settings) as client:
            first = await client.post("/orders", json=ORDER, headers=key("k1"))
            shop.outcome = None
            second = await client.post("/orders", json=ORDER, headers=key("k1"))
        assert (first.status_code, second.status_code) == (status, 201)

    @pytest.mark.parametrize("status", [400, 404, 422])
    async def test_what_the_handler_said_is_kept(self, settings: Settings, status: int) -> None:
        shop = Shop(Idempotency())
        shop.outcome = HTTPException(status, "no such tea")
        async with shop.open(settings) as client:
            first = await client.post("/orders", json=ORDER, headers=key("k1"))
            shop.outcome = None
            second = await client.post("/orders", json=ORDER, headers=key("k1"))
        assert first.status_code == second.status_code == status
        assert first.content == second.content
        assert shop.runs == 1

    async def test_an_unexpected_error_is_kept_because_its_effect_is_unknown(
        self, settings: Settings
    ) -> None:
        shop = Shop(Idempotency())
        shop.outcome = ZeroDivisionError()
        async with shop.open(settings) as client:
            first = await client.post("/orders", json=ORDER, headers=key("k1"))
            second = await client.post("/orders", json=ORDER, headers=key("k1"))
        assert first.status_code == second.status_code == 500
        assert first.content == second.content
        assert shop.runs == 1

    async def test_with_save_errors_off_it_may_run_again(self, settings: Settings) -> None:
        shop = Shop(Idempotency(save_errors=False))
        shop.outcome = ZeroDivisionError()
        async with shop.open(settings) as client:
            await client.post("/orders", json=ORDER, headers=key("k1"))
            shop.outcome = None
            second = await client.post("/orders", json=ORDER, headers=key("k1"))
        assert second.status_code == 201

    async def test_get_ignores_the_header(self, settings: Settings) -> None:
        config = JobConfig(idempotency=Idempotency())
        router, runs = APIRouter(), []

        @router.api_route(
            "/both", methods=["GET", "POST"], dependencies=[enforce_all_policies("both", config)]
        )
        @api_worker(config)
        async def both() -> None:
            runs.append(1)

        async with routed(settings, router) as client:
            await client.get("/both", headers=key("k1"))
            await client.get("/both", headers=key("k1"))
        assert len(runs) == 2


class TestDurable:
    """``durability="db"``: the row stands in the handler's own transaction."""

    @pytest.fixture
    async def table(self, database: Database, clean_database: None) -> AsyncIterator[None]:
        async with database.session() as session:
            await session.execute(text("CREATE TABLE IF NOT EXISTS effects (item text)"))
            await session.commit()
        yield
        async with database.session() as session:
            await session.execute(text("DROP TABLE effects"))
            await session.commit()

    @staticmethod
    async def effects(database: Database) -> int:
        async with database.session() as session:
            return int(await session.scalar(text("SELECT count(*) FROM effects")) or 0)

    @staticmethod
    def router(*, outcome: Any = None, commits: bool = False) -> APIRouter:
        config = JobConfig(idempotency=Idempotency(durability="db"))
        router = APIRouter()

        @router.post("/effects", dependencies=[enforce_all_policies("effects", config)])
        @api_worker(config)
        async def effect(order: Order, db: Annotated[AsyncSession, Depends(get_db)]) -> Any:
            await db.execute(text("INSERT INTO effects VALUES (:item)"), {"item": order.item})
            if commits:
                await db.commit()
            if outcome is not None:
                raise outcome
            return {"item": order.item}

        return router

    async def test_effect_and_result_are_one(
        self, settings: Settings, database: Database, store: Any, table: None
    ) -> None:
        async with routed(settings, self.router()) as client:
            first = await client.post("/effects", json=ORDER, headers=key("k1"))
            await store.execute("FLUSHDB")
            second = await client.post("/effects", json=ORDER, headers=key("k1"))
            third = await client.post("/effects", json=ORDER, headers=key("k1"))
        assert first.content == second.content == third.content
        assert second.headers["idempotent-replayed"] == "true"
        assert await self.effects(database) == 1

    async def test_the_flushed_key_with_another_body_is_still_422(
        self, settings: Settings, database: Database, store: Any, table: None
    ) -> None:
        async with routed(settings, self.router()) as client:
            await client.post("/effects", json=ORDER, headers=key("k1"))
            await store.execute("FLUSHDB")
            other = await client.post("/effects", json={"item": "milk"}, headers=key("k1"))
        assert other.status_code == 422
        assert await self.effects(database) == 1

    async def test_two_that_both_claimed_leave_one_effect(
        self, settings: Settings, database: Database, store: Any, table: None
    ) -> None:
        async with routed(settings, self.router()) as client:

            async def post() -> Any:
                await store.execute("FLUSHDB")
                return await client.post("/effects", json=ORDER, headers=key("k1"))

            answers = await asyncio.gather(*(post() for _ in range(8)))
        assert await self.effects(database) == 1
        assert {a.content for a in answers if a.status_code == 200} == {b'{"item":"tea"}'}
        assert {a.status_code for a in answers} <= {200, 409}

    async def test_a_failure_rolls_back_and_may_run_again(
        self, settings: Settings, database: Database, table: None
    ) -> None:
        async with routed(settings, self.router(outcome=ZeroDivisionError())) as client:
            failed = await client.post("/effects", json=ORDER, headers=key("k1"))
        async with routed(settings, self.router()) as client:
            done = await client.post("/effects", json=ORDER, headers=key("k1"))
        assert (failed.status_code, done.status_code) == (500, 200)
        assert await self.effects(database) == 1

    async def test_a_404_of_the_handler_is_kept_and_its_effect_is_not(
        self, settings: Settings, database: Database, store: Any, table: None
    ) -> None:
        async with routed(settings, self.router(outcome=NotFound("no"))) as client:
            first = await client.post("/effects", json=ORDER, headers=key("k1"))
            await store.execute("FLUSHDB")
            second = await client.post("/effects", json=ORDER, headers=key("k1"))
        assert first.status_code == second.status_code == 404
        assert first.content == second.content
        assert await self.effects(database) == 0

    async def test_a_commit_in_the_handler_is_refused_by_name(
        self, settings: Settings, database: Database, table: None
    ) -> None:
        async with routed(settings, self.router(commits=True)) as client:
            answer = await client.post("/effects", json=ORDER, headers=key("k1"))
        assert answer.status_code == 500
        assert await self.effects(database) == 0


class TestStart:
    @pytest.mark.parametrize("declared", [StreamingResponse, None])
    async def test_a_stream_with_idempotency_stops_the_start(self, settings: Settings, declared: Any) -> None:
        config = JobConfig(idempotency=Idempotency())
        router = APIRouter()
        options = {"response_class": declared} if declared else {}

        @router.post("/stream", dependencies=[enforce_all_policies("stream", config)], **options)
        @api_worker(config)
        async def stream() -> Any:
            yield b"x"

        with pytest.raises(AuditError, match="idempotency"):
            async with routed(settings, router):
                pass

    async def test_a_stream_nobody_declared_is_not_repeated(self, settings: Settings) -> None:
        config = JobConfig(idempotency=Idempotency())
        router = APIRouter()

        @router.post("/stream", dependencies=[enforce_all_policies("stream", config)])
        @api_worker(config)
        async def stream() -> Any:
            return StreamingResponse(iter([b"a", b"b"]))

        async with routed(settings, router) as client:
            first = await client.post("/stream", headers=key("k1"))
            second = await client.post("/stream", headers=key("k1"))
        assert first.content == b"ab"
        assert second.status_code == 409

    async def test_the_method_must_be_one_it_applies_to(self, settings: Settings) -> None:
        config = JobConfig(idempotency=Idempotency())
        router = APIRouter()

        @router.delete("/things", dependencies=[enforce_all_policies("things", config)])
        @api_worker(config)
        async def delete() -> None: ...

        with pytest.raises(ConfigurationError, match="POST, PATCH"):
            async with routed(settings, router):
                pass


class TestOutage:
    async def test_a_key_without_the_store_is_503_and_runs_nothing(self, make_settings: Any) -> None:
        shop = Shop(Idempotency())
        settings = make_settings(valkey_url="valkey://127.0.0.1:1/0")
        async with shop.open(settings) as client:
            keyed = await client.post("/orders", json=ORDER, headers=key("k1"))
            plain = await client.post("/orders", json=ORDER, headers=as_(READER))
        assert keyed.status_code == 503
        assert int(keyed.headers["retry-after"]) >= 1
        assert plain.status_code == 201
        assert shop.runs == 1


async def test_a_background_task_that_fails_does_not_undo_the_result(settings: Settings) -> None:
    from starlette.background import BackgroundTask

    config = JobConfig(idempotency=Idempotency())
    router, runs = APIRouter(), []

    def fail() -> None:
        raise ZeroDivisionError

    @router.post("/later", dependencies=[enforce_all_policies("later", config)])
    @api_worker(config)
    async def later() -> Any:
        runs.append(1)
        return JSONResponse({"ok": True}, background=BackgroundTask(fail))

    async with routed(settings, router) as client:
        with suppress(BrokenResponseError):  # whether the client hears of it depends on the server
            await client.post("/later", headers=key("k1"))
        again = await client.post("/later", headers=key("k1"))
    assert again.json() == {"ok": True}
    assert len(runs) == 1
