"""Handlers that are objects, methods or partials: under the same policies as functions."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from app.core.db import Database
from app.core.http import AuditError, api_worker, enforce_all_policies, require_credits, token_bucket
from app.core.policies import Bulkhead, Idempotency, JobConfig, Retry
from app.core.resilience import retry_decorator
from app.settings import Settings
from tests.core.http.workshop import Workshop, fund

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


class Asks:
    """An object that is called, async; it fails as often as it was told before."""

    def __init__(self, failures: int = 0, wait: asyncio.Event | None = None) -> None:
        self.failures = failures
        self.wait = wait
        self.calls = 0

    async def __call__(self, n: int = 0) -> dict[str, int]:
        self.calls += 1
        if self.wait is not None:
            await self.wait.wait()
        if self.calls <= self.failures:
            raise ConnectionError
        return {"n": n}


class Streams:
    async def __call__(self) -> AsyncIterator[str]:
        yield "a"


def served(config: JobConfig, handler: Callable[..., Any]) -> Workshop:
    shop = Workshop(JobConfig(rate_limit=None))
    shop.added("/asked", "asked", config, handler)
    return shop


@pytest.mark.parametrize("wrap", [lambda it: it, partial, lambda it: it.__call__])
async def test_the_deadline_holds(settings: Settings, wrap: Any) -> None:
    asks = Asks(wait=asyncio.Event())
    async with served(JobConfig(rate_limit=None, timeout=0.05), wrap(asks)).open(settings) as shop:
        assert (await shop.get("/asked")).status_code == 504


@pytest.mark.parametrize("wrap", [lambda it: it, partial, lambda it: it.__call__])
async def test_it_is_tried_again_and_its_place_is_held(settings: Settings, wrap: Any) -> None:
    asks = Asks(failures=1)
    config = JobConfig(
        rate_limit=None, retry=Retry(retry_safe=True, base=0.001), bulkhead=Bulkhead(max=1, queue=0)
    )
    async with served(config, wrap(asks)).open(settings) as shop:
        assert (await shop.get("/asked?n=3")).json() == {"n": 3}
    assert asks.calls == 2


async def test_the_building_blocks_take_it(settings: Settings, database: Database) -> None:
    await fund(database, 7)
    handler = require_credits(2, name="asked_credits")(
        token_bucket(max_tokens=2, refill_rate=0.001, name="asked_limit")(Asks())
    )
    async with served(JobConfig(rate_limit=None), handler).open(settings) as shop:
        assert await shop.statuses(3, "/asked") == [200, 200, 429]
        assert await shop.left() == (3, 0)


async def test_the_retry_decorator_tries_it_again() -> None:
    asks = Asks(failures=2)
    assert await retry_decorator(max_attempts=3, base=0.0, exceptions=ConnectionError)(asks)(n=1) == {"n": 1}
    assert asks.calls == 3


@pytest.mark.parametrize("stream", [Streams(), partial(Streams())])
async def test_a_stream_is_known_as_one(settings: Settings, stream: Any) -> None:
    with pytest.raises(ValueError, match="cannot guard the stream"):
        token_bucket(max_tokens=1, refill_rate=1, name="stream")(stream)
    with pytest.raises(TypeError, match="generator"):
        retry_decorator(stream)
    config = JobConfig(rate_limit=None, idempotency=Idempotency(methods=("PUT",)))
    shop = Workshop(JobConfig(rate_limit=None))
    gate = enforce_all_policies("streams", config)
    shop.router.put("/streams", dependencies=[gate])(api_worker(config)(stream))
    with pytest.raises(AuditError, match="a stream cannot be kept"):
        async with shop.open(settings):
            pass
