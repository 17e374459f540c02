"""Documents 000 and 001 promise one call that does all for a query; here the part of document 000."""

import types
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi import Depends
from prometheus_client import REGISTRY
from sqlalchemy import event, inspect, text
from structlog.testing import capture_logs

from app.core import APIRouter, JobConfig, api_worker, enforce_all_policies
from app.core.db import (
    Database,
    OptimizedQuerySetMixin,
    PoolCircuitOpen,
    QueryOptimizer,
    get_db,
    get_db_context,
    watch_queries,
)
from app.core.errors import ConfigurationError
from tests.requirements.conftest import Serve
from tests.requirements.shop import Campaign, Item


@pytest.fixture
async def shop_of(configured: Database, shop: UUID, cached: None) -> AsyncIterator[Database]:
    """The documents' tables, in the database that the process has, with a cache."""
    yield configured
    configured.breaker.close()


@contextmanager
def breaking(database: Database) -> Iterator[None]:
    """The first read of items ends its own connection."""
    reads: list[str] = []

    def end(_c: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        reads.extend([sql] if "FROM shop.items" in sql else [])
        if reads == [sql]:
            return "SELECT pg_terminate_backend(pg_backend_pid())", ()
        return sql, parameters

    event.listen(database.engine.sync_engine, "before_cursor_execute", end, retval=True)
    yield
    event.remove(database.engine.sync_engine, "before_cursor_execute", end)
    assert len(reads) == 2


async def test_000_07_a_single_object_or_none(shop_of: Database) -> None:
    async with shop_of.session() as db_session:
        query_params = {"name": "pen"}
        # The document leaves out the await.
        result = await QueryOptimizer.optimize_single_object_query(Item, query_params, db_session)
        nothing = await QueryOptimizer.optimize_single_object_query(Item, {"name": "rubber"}, db_session)
    assert isinstance(result, Item)
    assert (result.name, nothing) == ("pen", None)


async def test_000_12_many_are_a_list(shop_of: Database) -> None:
    async with shop_of.session() as db_session:
        result = await QueryOptimizer.optimized_query(Item, {"name__contains": "n"}, db_session)
        nothing = await QueryOptimizer.optimized_query(Item, {"id": 4711}, db_session)
    assert sorted(item.name for item in result) == ["ink", "pen"]
    assert (type(result), nothing) == (list, [])


class MyQuerySet(OptimizedQuerySetMixin[Item]):
    """The document's has the model as a second base, which would map it twice."""


def get_queryset(db: Any = Depends(get_db)) -> MyQuerySet:
    return MyQuerySet(db)


async def test_000_13_a_query_set_is_a_dependency(serve: Serve, shop: UUID) -> None:
    router, config = APIRouter(), JobConfig.public()

    @router.get("/items", dependencies=[enforce_all_policies("items", config)])
    @api_worker(config)
    async def items(letter: str, queryset: Any = Depends(get_queryset)) -> list[str]:
        found = await queryset.optimized_query({"name__contains": letter}, order_by="name")
        first = await queryset.optimize_single_object_query({"name__contains": letter})
        assert (first is None) == (not found)
        return [item.name for item in found]

    async with serve(router) as service:
        answers = [await service.client.get(f"/items?letter={letter}") for letter in ("n", "k", "z")]
    assert [answer.json() for answer in answers] == [["ink", "pen"], ["ink"], []]
    with pytest.raises(ConfigurationError, match=r"OptimizedQuerySetMixin\[Item\]"):
        types.new_class("MyQuerySet", (OptimizedQuerySetMixin, Item))
    assert len(list(inspect(Item).self_and_descendants)) == 1


async def test_000_line_33_a_query_is_cached_and_prefetches(shop_of: Database) -> None:
    for statements in (2, 0):
        async with shop_of.session() as session:
            with watch_queries() as watch:
                found = await QueryOptimizer.optimized_query(Campaign, {}, session, load=["emails"])
        assert watch.statements == statements
        assert sorted(len(campaign.emails) for campaign in found) == [1, 2]
    async with get_db_context() as session:
        await session.execute(text("DELETE FROM shop.emails"))
    async with shop_of.session() as session:
        found = await QueryOptimizer.optimized_query(Campaign, {}, session, load=["emails"])
    assert [campaign.emails for campaign in found] == [[], []]


async def test_000_line_121_a_query_has_retries_a_breaker_and_metrics(shop_of: Database) -> None:
    labels = {"operation": "Item.optimized_query"}
    before = REGISTRY.get_sample_value("db_latency_seconds_count", labels) or 0.0
    async with shop_of.session() as session:
        with breaking(shop_of):
            assert len(await QueryOptimizer.optimized_query(Item, {}, session, ttl=None)) == 2
    assert REGISTRY.get_sample_value("db_latency_seconds_count", labels) == before + 1
    shop_of.breaker.isolate()
    async with shop_of.session() as session:
        with pytest.raises(PoolCircuitOpen):
            await QueryOptimizer.optimized_query(Item, {}, session)


async def test_000_line_184_an_attempt_that_failed_and_a_slow_query_are_logged(shop_of: Database) -> None:
    async with shop_of.session() as session:
        with capture_logs() as logs, pytest.MonkeyPatch.context() as patch, breaking(shop_of):
            patch.setattr("app.core.db._optimized_read.SLOW_MS", 0.0)
            await QueryOptimizer.optimized_query(Item, {}, session)
    events = {entry["event"]: entry for entry in logs}
    assert events["query.attempt_failed"]["operation"] == "Item.optimized_query"
    assert events["function.slow"]["function"] == "Item.optimized_query"


def test_000_line_166_the_flow_chart_has_every_stage_in_order() -> None:
    chart = (Path(__file__).parents[2] / "docs/flow_chart.mermaid").read_text()
    stages = (
        "Environment loading", "Client selection", "Pooling", "Decorator stack", "Query execution", "Caching", "Error handling",
        "Metrics",
    )  # fmt: skip
    places = [chart.find(stage) for stage in stages]
    assert -1 not in places
    assert places == sorted(places)
