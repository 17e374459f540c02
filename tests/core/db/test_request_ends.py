"""How a request may end, and what its sessions leave behind: rows that were answered for, and no connection."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import BackgroundTasks, Depends, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import Message

from app.core import APIRouter, JobConfig, RateLimit, api_worker, enforce_all_policies
from app.core.db import Database, get_db, get_db_context
from app.registry import Feature
from app.settings import Settings
from tests.gated import Service, serving

MANY = RateLimit.fixed_window("ip", limit=1_000_000, window=60, scope="ip")
CONFIG = JobConfig.public(rate_limit=MANY)
BRIEF = JobConfig.public(rate_limit=MANY, timeout=0.05)
Db = Annotated[AsyncSession, Depends(get_db)]
FunctionDb = Annotated[AsyncSession, Depends(get_db, scope="function")]
OtherDb = Annotated[AsyncSession, Depends(get_db, use_cache=False)]
KEYWORDS = ["after", "before"]


class Answer(BaseModel):
    value: int


class Events:
    """What a test and a handler tell each other."""

    def __init__(self) -> None:
        self.inserted = asyncio.Event()
        self.go_on = asyncio.Event()
        self.seen: list[int] = []


async def insert(db: AsyncSession, number: int = 1, *, parent: int | None = None) -> None:
    await db.execute(
        text("INSERT INTO entries VALUES (:id, :parent, 'x')"), {"id": number, "parent": parent or number}
    )


async def count(database: Database) -> int:
    async with database.session() as session:
        return int(await session.scalar(text("SELECT count(*) FROM entries")) or 0)


def router(events: Events) -> APIRouter:
    router = APIRouter()

    def add(path: str, handler: Any, config: JobConfig = CONFIG, **options: Any) -> None:
        name = path.strip("/").replace("/", "_").replace("-", "_")
        gate = enforce_all_policies(name, config)
        router.add_api_route(
            path, api_worker(config)(handler), methods=["POST"], dependencies=[gate], **options
        )

    def both(path: str, act: Any, config: JobConfig = CONFIG, **options: Any) -> None:
        async def after(db: Db) -> Any:
            return await act(db)

        async def before(db: FunctionDb) -> Any:
            return await act(db)

        add(f"/after/{path}", after, config, **options)
        add(f"/before/{path}", before, config, **options)

    async def waits(db: AsyncSession) -> Any:
        await insert(db)
        events.inserted.set()
        await events.go_on.wait()
        return {"value": 1}

    async def invalid(db: AsyncSession) -> Any:
        await insert(db, 8)
        return {"value": "not a number"}

    async def refuses_after_a_commit(db: AsyncSession) -> Any:
        await insert(db, 1)
        await db.commit()
        await insert(db, 2)
        raise HTTPException(404, "no")

    async def begins(db: AsyncSession) -> Any:
        async with db.begin():
            await insert(db, 1)
        async with db.begin():
            await insert(db, 2)
        return {"value": 1}

    async def half_a_savepoint(db: AsyncSession) -> Any:
        await insert(db, 1)
        nested = await db.begin_nested()
        await insert(db, 2)
        await nested.rollback()
        return {"value": 1}

    both("waits", waits)
    both("brief", waits, BRIEF)
    both("invalid", invalid, response_model=Answer)
    both("refuses-after-a-commit", refuses_after_a_commit)
    both("begins", begins)
    both("half-a-savepoint", half_a_savepoint)
    add("/background", in_the_background(events))
    add("/two", two_sessions)
    add("/dependency", after_a_dependency)
    add("/untouched", untouched)
    add("/stream", streams)
    return router


def in_the_background(events: Events) -> Any:
    async def look() -> None:
        async with get_db_context() as db:
            events.seen.append(int(await db.scalar(text("SELECT count(*) FROM entries")) or 0))
            await insert(db, 2)

    async def handler(db: Db, tasks: BackgroundTasks) -> Any:
        await insert(db, 1)
        tasks.add_task(look)
        return {"value": 1}

    return handler


async def two_sessions(db: Db, other: OtherDb, second: int) -> Any:
    assert db is not other
    await insert(db, 1)
    await insert(other, 2, parent=second)
    return {"value": 1}


async def fails(db: Db) -> None:
    await insert(db, 7)
    raise HTTPException(403, "no")


async def after_a_dependency(_: Annotated[None, Depends(fails)]) -> Any:
    raise AssertionError("the handler runs although its dependency refused")


async def untouched(db: Db) -> Any:
    return {"value": 1}


async def streams(db: Db) -> StreamingResponse:
    await insert(db, 1)

    async def lines() -> AsyncIterator[bytes]:
        yield b"%d\n" % (await db.scalar(text("SELECT count(*) FROM entries")) or 0)
        raise ZeroDivisionError

    return StreamingResponse(lines())


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def service(
    settings: Settings, entries: None, clean_store: None, events: Events
) -> AsyncIterator[Service]:
    async with serving(settings, Feature(name="toys", router=router(events))) as service:
        yield service
        assert service.platform.database.pool_status().checked_out == 0


def request(service: Service, path: str, send: Any) -> asyncio.Task[None]:
    """One request as a server makes it, in a task that can be cancelled."""
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [],
        "http_version": "1.1", "scheme": "http", "server": ("test", 80), "client": ("192.0.2.1", 1), "root_path": "",
    }  # fmt: skip

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("nothing ever comes")

    return asyncio.create_task(service.app(scope, receive, send))


@pytest.mark.parametrize("when", KEYWORDS)
class TestOneSession:
    async def test_a_cancelled_request_keeps_nothing(
        self, service: Service, events: Events, database: Database, when: str
    ) -> None:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        task = request(service, f"/{when}/waits", send)
        await events.inserted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sent == []
        assert await count(database) == 0

    async def test_a_client_that_is_gone_when_the_answer_is_sent_does_not_undo_it(
        self, service: Service, events: Events, database: Database, when: str
    ) -> None:
        async def send(message: Message) -> None:
            raise OSError("gone")

        events.go_on.set()
        with pytest.raises(RuntimeError, match="after its answer had begun"):
            await request(service, f"/{when}/waits", send)
        assert await count(database) == 1

    async def test_a_handler_that_runs_out_of_time_keeps_nothing(
        self, service: Service, database: Database, when: str
    ) -> None:
        answer = await service.client.post(f"/{when}/brief")
        assert answer.status_code == 504
        assert answer.headers["content-type"] == "application/problem+json"
        assert await count(database) == 0

    async def test_an_answer_that_breaks_its_own_model_keeps_nothing(
        self, service: Service, database: Database, when: str
    ) -> None:
        answer = await service.client.post(f"/{when}/invalid")
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
        assert "not a number" not in answer.text
        assert await count(database) == 0

    async def test_what_was_committed_by_hand_stays_when_the_rest_is_refused(
        self, service: Service, database: Database, when: str
    ) -> None:
        assert (await service.client.post(f"/{when}/refuses-after-a-commit")).status_code == 404
        assert await count(database) == 1

    async def test_begin_blocks_commit_themselves(
        self, service: Service, database: Database, when: str
    ) -> None:
        assert (await service.client.post(f"/{when}/begins")).status_code == 200
        assert await count(database) == 2

    async def test_a_savepoint_can_be_undone_alone(
        self, service: Service, database: Database, when: str
    ) -> None:
        assert (await service.client.post(f"/{when}/half-a-savepoint")).status_code == 200
        assert await count(database) == 1


async def test_a_background_task_sees_what_was_committed_and_writes_on_a_session_of_its_own(
    service: Service, events: Events, database: Database
) -> None:
    assert (await service.client.post("/background")).status_code == 200
    assert events.seen == [1]
    assert await count(database) == 2


@pytest.mark.parametrize(("second", "status", "kept"), [(99, 409, 0), (2, 200, 2)])
async def test_two_sessions_are_kept_together_or_not_at_all(
    service: Service, database: Database, *, second: int, status: int, kept: int
) -> None:
    assert (await service.client.post("/two", params={"second": second})).status_code == status
    assert await count(database) == kept


async def test_what_a_dependency_wrote_before_it_refused_is_undone(
    service: Service, database: Database
) -> None:
    assert (await service.client.post("/dependency")).status_code == 403
    assert await count(database) == 0


async def test_a_stream_reads_what_it_committed_and_its_connection_comes_back_when_it_breaks(
    service: Service, database: Database
) -> None:
    received: list[Message] = []

    async def send(message: Message) -> None:
        received.append(message)

    with pytest.raises(RuntimeError, match="after its answer had begun"):
        await request(service, "/stream", send)
    assert received[1]["body"] == b"1\n"
    assert await count(database) == 1


async def test_an_override_of_get_db_replaces_the_session(
    service: Service, db_session: AsyncSession, database: Database
) -> None:
    service.app.dependency_overrides[get_db] = lambda: db_session
    assert (await service.client.post("/after/half-a-savepoint")).status_code == 200
    assert await db_session.scalar(text("SELECT count(*) FROM entries")) == 1
    assert await count(database) == 0
    assert service.platform.database.pool_status().open == 0


async def test_two_hundred_requests_of_every_kind_leave_no_connection_behind(
    service: Service, events: Events
) -> None:
    events.go_on.set()
    paths = [
        f"/{when}/{end}"
        for when in KEYWORDS
        for end in ("waits", "invalid", "refuses-after-a-commit", "begins")
    ]
    paths += ["/untouched", "/dependency", "/two?second=2", "/background", "/no-such-path", "/two?second=x"]
    answers: list[httpx2.Response] = await asyncio.gather(
        *(service.client.post(paths[number % len(paths)]) for number in range(200))
    )
    assert {answer.status_code for answer in answers} >= {200, 403, 404, 409, 422, 500}
    status = service.platform.database.pool_status()
    assert status.checked_out == 0
    assert status.open <= status.limit


async def test_a_session_that_nobody_touches_takes_no_connection(service: Service) -> None:
    assert (await service.client.post("/untouched")).status_code == 200
    assert service.platform.database.pool_status().open == 0
