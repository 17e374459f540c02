"""``get_read_db`` in whole requests, and who may stand in for it."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import Depends
from fastapi.responses import StreamingResponse
from sqlalchemy import text

from app.core import APIRouter, JobConfig, api_worker, enforce_all_policies
from app.core.db import AsyncSession, Database, ReadSession, WriteSession, get_db, get_read_db
from app.core.errors import ConfigurationError
from app.registry import Feature
from app.settings import Settings
from tests.gated import Service, serving
from tests.staff import Person

CONFIG = JobConfig.public()
INSERT = text("INSERT INTO entries VALUES (1, 1, 'x')")
COUNT = text("SELECT count(*) FROM entries")
Reading = Annotated[ReadSession, Depends(get_read_db)]
Writing = Annotated[WriteSession, Depends(get_db)]


def _router() -> APIRouter:
    router = APIRouter(dependencies=[enforce_all_policies("toys", CONFIG)])

    @router.get("/entries")
    @api_worker(CONFIG)
    async def read(db: Reading) -> Any:
        return await db.scalar(COUNT)

    @router.post("/entries")
    @api_worker(CONFIG)
    async def write(db: Writing) -> str:
        await db.execute(INSERT)
        return "written"

    @router.get("/both")
    @api_worker(CONFIG)
    async def both(
        writing: Writing, plain: Annotated[AsyncSession, Depends(get_db)], reading: Reading
    ) -> list[str]:
        return [type(each).__name__ for each in (writing, plain, reading)] + [str(writing is plain)]

    @router.put("/entries")
    @api_worker(CONFIG)
    async def misuse(db: Reading) -> str:
        await db.execute(INSERT)
        return "never"

    @router.patch("/entries")
    @api_worker(CONFIG)
    async def change(db: Reading) -> str:
        db.add(Person(name="Eve"))
        return "never"

    @router.get("/stream")
    @api_worker(CONFIG)
    async def stream(db: Reading) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            yield str(await db.scalar(COUNT))

        return StreamingResponse(lines())

    return router


@pytest.fixture
async def service(settings: Settings, entries: None, clean_store: None) -> AsyncIterator[Service]:
    async with serving(settings, Feature(name="toys", router=_router())) as service:
        yield service


class Fake:
    """What a test puts in a session's place."""

    def __init__(self, number: int) -> None:
        self.number = number

    async def scalar(self, _statement: object) -> int:
        return self.number

    async def execute(self, _statement: object) -> None:
        self.number += 1


class TestRequests:
    async def test_each_handler_gets_the_kind_it_asked_for(self, service: Service) -> None:
        assert (await service.client.get("/both")).json() == [
            "WriteSession",
            "WriteSession",
            "ReadSession",
            "True",
        ]

    async def test_what_one_request_stored_the_next_one_reads(self, service: Service) -> None:
        assert (await service.client.post("/entries")).status_code == 200
        assert (await service.client.get("/entries")).json() == 1
        assert service.platform.database.pool_status().checked_out == 0

    async def test_a_write_by_statement_is_a_problem_and_writes_nothing(self, service: Service) -> None:
        answer = await service.client.put("/entries")
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert (await service.client.get("/entries")).json() == 0

    async def test_a_change_of_objects_is_a_problem_that_quotes_nothing(self, service: Service) -> None:
        answer = await service.client.patch("/entries")
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
        assert "Eve" not in answer.text

    async def test_a_stream_reads_after_the_answer_was_decided(self, service: Service) -> None:
        assert (await service.client.get("/stream")).text == "0"
        assert service.platform.database.pool_status().checked_out == 0

    async def test_a_stream_with_one_that_closes_too_early_is_refused(
        self, settings: Settings, clean_store: None
    ) -> None:
        router = APIRouter()

        @router.get("/stream", dependencies=[enforce_all_policies("stream", CONFIG)])
        @api_worker(CONFIG)
        async def stream(
            db: Annotated[ReadSession, Depends(get_read_db, scope="function")],
        ) -> StreamingResponse:
            return StreamingResponse(iter(()))

        with pytest.raises(ConfigurationError, match="streams with a function-scope get_db or get_read_db"):
            async with serving(settings, Feature(name="example", router=router)):
                pass


class TestOverrides:
    async def test_one_of_get_db_serves_both(self, service: Service, database: Database) -> None:
        fake = Fake(7)
        service.app.dependency_overrides[get_db] = lambda: fake
        assert (await service.client.get("/entries")).json() == 7
        assert (await service.client.post("/entries")).status_code == 200
        assert (await service.client.get("/entries")).json() == 8
        assert (await service.client.get("/both")).json() == ["Fake", "Fake", "Fake", "True"]
        async with database.session() as session:
            assert await session.scalar(COUNT) == 0

    async def test_one_of_get_read_db_goes_first(self, service: Service) -> None:
        service.app.dependency_overrides[get_db] = lambda: Fake(7)
        service.app.dependency_overrides[get_read_db] = lambda: Fake(9)
        assert (await service.client.get("/entries")).json() == 9

    async def test_one_of_get_read_db_alone_leaves_writing_as_it_is(
        self, service: Service, database: Database
    ) -> None:
        service.app.dependency_overrides[get_read_db] = lambda: Fake(9)
        assert (await service.client.post("/entries")).status_code == 200
        assert (await service.client.get("/entries")).json() == 9
        async with database.session() as session:
            assert await session.scalar(COUNT) == 1

    async def test_a_new_dictionary_counts_and_an_empty_one_ends_it(self, service: Service) -> None:
        service.app.dependency_overrides = {get_db: lambda: Fake(7)}
        assert (await service.client.get("/entries")).json() == 7
        service.app.dependency_overrides = {}
        assert (await service.client.get("/entries")).json() == 0
