"""The application as the door puts it together: what holds for all of its routes."""

from collections.abc import Callable

import httpx2
import pytest
from fastapi import Response

from app.core import (
    APIRouter,
    Idempotency,
    JobConfig,
    RateLimit,
    ResponseCache,
    api_worker,
    enforce_all_policies,
)
from app.settings import Settings
from tests.core.http.gated import READER, as_, routed
from tests.core.http.workshop import LONG

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
ORIGIN = {"Origin": "https://page.example"}
WITH_KEY = {**ORIGIN, **as_(READER), "Idempotency-Key": "once"}
READ = JobConfig(cache=ResponseCache(ttl=60), rate_limit=RateLimit.fixed_window("user", limit=2, window=LONG))
WRITE = JobConfig(idempotency=Idempotency())

# What the Fetch standard lets every page read, what is about the connection or for caches, and what the browser itself asked for.
READABLE = {
    "cache-control",
    "content-language",
    "content-length",
    "content-type",
    "expires",
    "last-modified",
    "pragma",
}
NOT_FOR_PAGES = {"vary", "x-content-type-options"}


def things() -> APIRouter:
    """One that can be read, from the cache, and made."""
    router = APIRouter()

    @router.get("/things", dependencies=[enforce_all_policies("read_things", READ)])
    @api_worker(READ)
    async def read() -> int:
        return 1

    @router.post("/things", status_code=201, dependencies=[enforce_all_policies("make_thing", WRITE)])
    @api_worker(WRITE)
    async def make(response: Response) -> int:
        response.headers["Location"] = "/things/1"
        return 1

    return router


async def everything(client: httpx2.AsyncClient) -> list[httpx2.Response]:
    """Answers of every kind."""
    caller = {**ORIGIN, **as_(READER)}
    return [
        *[await client.get("/things", headers=caller) for _ in range(3)],
        *[await client.post("/things", headers=WITH_KEY) for _ in range(2)],
        await client.post("/things", headers=caller | {"Idempotency-Key": '"'}),
        await client.get("/things", headers=ORIGIN),
        await client.delete("/things", headers=caller),
    ]


class TestOtherOrigins:
    async def test_a_page_of_a_named_origin_can_read_every_header_that_is_for_it(
        self, make_settings: Callable[..., Settings]
    ) -> None:
        settings = make_settings(cors={"origins": [ORIGIN["Origin"]]})
        async with routed(settings, things()) as client:
            answers = await everything(client)
        assert [answer.status_code for answer in answers] == [200, 200, 429, 201, 201, 400, 401, 405]
        sent = {
            name for answer in answers for name in answer.headers if not name.startswith("access-control")
        }
        (exposed,) = {answer.headers["access-control-expose-headers"] for answer in answers}
        assert sent - READABLE - NOT_FOR_PAGES == {name.strip().lower() for name in exposed.split(",")}

    async def test_no_other_origin_is_let_in(self, settings: Settings) -> None:
        async with routed(settings, things()) as client:
            answer = await client.get("/things", headers={**ORIGIN, **as_(READER)})
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control")]
