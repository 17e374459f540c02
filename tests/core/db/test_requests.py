"""``get_db`` in whole requests: what is kept, and when, with either of FastAPI's dependency scopes."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, HTTPException, Request
from fastapi.responses import JSONResponse
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.background import BackgroundTask
from starlette.types import Message, Receive, Scope, Send

from app.core import APIRouter, JobConfig, api_worker, enforce_all_policies
from app.core.db import Database, get_db
from app.registry import Feature
from app.settings import Settings
from tests.gated import Service, serving

CONFIG = JobConfig.public()
AfterTheAnswer = Annotated[AsyncSession, Depends(get_db)]
BeforeTheAnswer = Annotated[AsyncSession, Depends(get_db, scope="function")]


async def _act(db: AsyncSession, case: str) -> Any:
    await db.execute(text("INSERT INTO entries VALUES (1, 1, 'x')"))
    match case:
        case "refused":
            raise HTTPException(409, "no")
        case "broken":
            raise ZeroDivisionError
        case "unserializable":
            return {"value": object()}
        case "dangling":
            await db.execute(text("INSERT INTO entries VALUES (2, 99, 'x')"))
        case "committed":
            await db.commit()
            await db.execute(text("INSERT INTO entries VALUES (2, 2, 'x')"))
        case "swallowed":
            with pytest.raises(DBAPIError):
                await db.execute(text("SELECT 1 / 0"))
        case "untranslated":
            await db.execute(text("INSERT INTO entries VALUES (1, 1, 'x')"))
        case "declined":
            return JSONResponse({}, status_code=422)
        case "late":
            return JSONResponse({}, background=BackgroundTask(_write_late, db))
    return {"value": 1}


async def _write_late(db: AsyncSession) -> None:
    with pytest.raises(DBAPIError, match="read-only"):
        await db.execute(text("INSERT INTO entries VALUES (3, 3, 'x')"))


def _router() -> APIRouter:
    router = APIRouter()

    @router.post("/after/{case}", dependencies=[enforce_all_policies("after", CONFIG)])
    @api_worker(CONFIG)
    async def after(case: str, db: AfterTheAnswer) -> Any:
        return await _act(db, case)

    @router.post("/before/{case}", dependencies=[enforce_all_policies("before", CONFIG)])
    @api_worker(CONFIG)
    async def before(case: str, db: BeforeTheAnswer) -> Any:
        return await _act(db, case)

    @router.post("/both/{case}", dependencies=[enforce_all_policies("both", CONFIG)])
    @api_worker(CONFIG)
    async def both(case: str, db: AfterTheAnswer, other: BeforeTheAnswer) -> Any:
        await other.execute(text("INSERT INTO entries VALUES (10, 10, 'x')"))
        return await _act(db, case)

    @router.get("/idle", dependencies=[enforce_all_policies("idle", CONFIG)])
    @api_worker(CONFIG)
    async def idle(db: AfterTheAnswer, request: Request) -> dict[str, int]:
        return {"open": request.app.state.gatehouse.database.pool_status().open}

    return router


@pytest.fixture
async def service(settings: Settings, entries: None, clean_store: None) -> AsyncIterator[Service]:
    async with serving(settings, Feature(name="toys", router=_router())) as service:
        yield service


async def count(database: Database) -> int:
    async with database.session() as session:
        return int(await session.scalar(text("SELECT count(*) FROM entries")) or 0)


@pytest.mark.parametrize("path", ["/after", "/before", "/both"])
@pytest.mark.parametrize(
    ("case", "status", "kept"),
    [
        ("fine", 200, 1),
        ("committed", 200, 2),
        ("refused", 409, 0),
        ("broken", 500, 0),
        ("unserializable", 500, 0),
        ("dangling", 409, 0),
        ("swallowed", 500, 0),
        ("untranslated", 409, 0),
    ],
)
async def test_kept_when_it_answers_2xx_and_not_at_all_otherwise(
    service: Service, database: Database, path: str, case: str, *, status: int, kept: int
) -> None:
    answer = await service.client.post(f"{path}/{case}")
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert "entries" not in answer.text
    else:
        kept += path == "/both"
    assert await count(database) == kept
    assert service.platform.database.pool_status().checked_out == 0


@pytest.mark.parametrize("path", ["/after/declined", "/before/declined"])
async def test_a_refusal_that_is_returned_keeps_what_the_handler_wrote(
    service: Service, database: Database, path: str
) -> None:
    assert (await service.client.post(path)).status_code == 422
    assert await count(database) == 1


@pytest.mark.parametrize("path", ["/after/fine", "/before/fine"])
async def test_it_is_stored_before_the_first_byte_leaves(
    service: Service, database: Database, path: str
) -> None:
    stored: list[int] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def look(message: Message) -> None:
            if message["type"] == "http.response.start":
                stored.append(await count(database))
            await send(message)

        await service.app(scope, receive, look)

    service.client._transport.app = watched  # type: ignore[attr-defined]
    assert (await service.client.post(path)).status_code == 200
    assert stored == [1]


async def test_a_background_task_cannot_write_on_the_requests_session(
    service: Service, database: Database
) -> None:
    assert (await service.client.post("/after/late")).status_code == 200
    assert await count(database) == 1


async def test_a_handler_that_asks_for_a_session_and_never_uses_it_takes_no_connection(
    service: Service,
) -> None:
    assert (await service.client.get("/idle")).json() == {"open": 0}
