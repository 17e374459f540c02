"""What a request leaves behind: nothing that only the garbage collector could find."""

from dataclasses import replace
from typing import Any

import pytest
from starlette.types import Message

from app.core.db import Database
from app.core.policies import Concurrency, Credits, JobConfig, Quota, RateLimit, ResponseCache
from app.settings import Settings
from tests.core.http.gated import READER
from tests.core.http.workshop import Workshop, fund
from tests.garbage import own_garbage

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
REQUESTS, TURNS = 20, 6
LIMITED = JobConfig(rate_limit=(RateLimit.token_bucket("user", max_tokens=10_000, refill_rate=10_000),))
EVERYTHING = replace(
    LIMITED,
    quota=Quota(per="day", limit=10_000),
    credits=Credits(cost=1, settle="batched"),
    concurrency=Concurrency(max=100),
    cache=ResponseCache(ttl=60),
)


async def ask(shop: Workshop, query: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    """One GET, without a client whose own garbage would be counted."""
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/work",
        "raw_path": b"/work", "query_string": query, "root_path": "", "headers": headers, "client": ("127.0.0.1", 1),
        "server": ("test", 80), "state": {},
    }  # fmt: skip
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 0))

    await shop.app(scope, receive, send)
    return statuses[0]


@pytest.mark.parametrize(
    ("config", "is_same"),
    [(LIMITED, False), (EVERYTHING, False), (EVERYTHING, True)],
    ids=["limits", "all", "hits"],
)
async def test_a_request_ends_with_its_last_reference(
    settings: Settings, database: Database, config: JobConfig, is_same: bool
) -> None:
    await fund(database, 1000)
    async with Workshop(config).open(settings) as shop:
        headers = [(b"host", b"test"), (b"authorization", f"Bearer {READER.id}".encode())]
        left: list[int] = []
        for turn in range(TURNS):
            with own_garbage() as collect:
                for number in range(REQUESTS):
                    query = b"" if is_same else b"n=%d" % (turn * REQUESTS + number)
                    assert await ask(shop, query, headers) == 200
                left.append(collect())
        # Less than one cycle for each, in the turn in which the process did nothing else meanwhile (a batch is posted by its own clock).
        assert min(left) < REQUESTS
