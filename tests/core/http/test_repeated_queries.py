import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends
from sqlalchemy import text

from app.core import APIRouter, JobConfig, api_worker, enforce_all_policies
from app.core.db import AsyncSession, get_db
from app.core.errors import ConfigurationError
from app.core.http import RepeatedQueriesMiddleware
from app.core.observability import log_sink
from app.registry import Feature
from app.settings import Settings
from tests.gated import serving

Make = Callable[..., Settings]
CONFIG = JobConfig.public()
ONE = text("SELECT name FROM records WHERE version = :version")


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []

    def look(lines: bytes) -> None:
        events.extend(json.loads(line) for line in lines.splitlines() if line.startswith(b"{"))

    with log_sink.tapped(look):
        yield events


def feature() -> Feature:
    router = APIRouter()

    @router.get("/loops/{times}", dependencies=[enforce_all_policies("loops", CONFIG)])
    @api_worker(CONFIG)
    async def read_loops(times: int, db: Annotated[AsyncSession, Depends(get_db)]) -> str:
        for version in range(times):
            await db.execute(ONE, {"version": version})
        if times == 13:
            raise ZeroDivisionError
        return str(await db.scalar(text("SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()")))

    return Feature(name="loops", router=router)


def repeated(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == "request.repeated_query"]


async def test_a_handler_that_loads_in_a_loop_is_told_with_its_line(
    make_settings: Make, clean_store: None, logged: list[dict[str, Any]]
) -> None:
    async with serving(make_settings(db_repeat_limit=3, log={"format": "json"}), feature()) as service:
        assert (await service.client.get("/loops/7")).status_code == 200
        (event,) = repeated(logged)
        assert (await service.client.get("/loops/2")).status_code == 200
    assert repeated(logged) == [event]
    assert (event["times"], event["distinct"], event["policy"], event["method"]) == (7, 7, "loops", "GET")
    assert event["statement"] == "SELECT name FROM records WHERE version = ?"
    assert event["lines"][0].startswith("tests/core/http/test_repeated_queries.py:")
    assert event["lines"][0].endswith(" in read_loops")
    assert event["level"] == "warning"


async def test_a_request_that_fails_is_told_as_well(
    make_settings: Make, clean_store: None, logged: list[dict[str, Any]]
) -> None:
    async with serving(make_settings(db_repeat_limit=13, log={"format": "json"}), feature()) as service:
        assert (await service.client.get("/loops/13")).status_code == 500
    assert [event["times"] for event in repeated(logged)] == [13]


@pytest.mark.parametrize("changes", [{}, {"db_repeat_limit": 0}])
async def test_outside_development_nobody_looks(
    make_settings: Make, clean_store: None, logged: list[dict[str, Any]], changes: dict[str, int]
) -> None:
    async with serving(make_settings(**changes), feature()) as service:
        assert (await service.client.get("/loops/7")).status_code == 200
    assert repeated(logged) == []


async def test_a_request_tags_its_statements_when_it_is_asked_to(
    make_settings: Make, clean_store: None
) -> None:
    settings = make_settings(db_query_tags=["route", "policy", "request_id"])
    async with serving(settings, feature()) as service:
        answer = await service.client.get("/loops/0")
    request_id = answer.headers["x-request-id"]
    said = f"/*policy='loops',request_id='{request_id}',route='%2Floops%2F%7Btimes%7D'*/"
    assert answer.json().endswith(said)


async def test_otherwise_it_does_not(make_settings: Make, clean_store: None) -> None:
    async with serving(make_settings(), feature()) as service:
        assert "/*" not in (await service.client.get("/loops/0")).json()


@pytest.mark.parametrize("threshold", [1, 0, -1])
def test_a_threshold_that_every_request_passes_is_refused(threshold: int) -> None:
    with pytest.raises(ConfigurationError, match="2 or more"):
        RepeatedQueriesMiddleware(lambda *_: None, threshold=threshold)  # type: ignore[arg-type]
