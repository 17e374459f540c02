"""What callers see of a repository through an endpoint."""

from typing import Annotated, Any

import pytest
from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import APIRouter, JobConfig, api_worker, enforce_all_policies
from app.core.db import (
    AsyncBaseRepository,
    Database,
    FilterGrammar,
    PaginationParams,
    UnitOfWork,
    get_db,
    get_db_context,
    parse_sort,
)
from app.registry import Feature
from app.settings import Settings
from tests.gated import serving
from tests.staff import Badge

CONFIG = JobConfig.public()
GRAMMAR = FilterGrammar(Badge, {"rank": None, "text": ("eq", "icontains")})


def badges_router() -> APIRouter:
    router = APIRouter()

    @router.get("/badges", dependencies=[enforce_all_policies("badges", CONFIG)])
    @api_worker(CONFIG)
    async def listed(
        db: Annotated[AsyncSession, Depends(get_db)],
        request: Request,
        *,
        limit: int = 2,
        cursor: str | None = None,
        order_by: str = "rank",
        page: int | None = None,
    ) -> dict[str, Any]:
        badges = AsyncBaseRepository(Badge, db)
        order = parse_sort(Badge, order_by, allowed=("rank", "text"))
        filters = GRAMMAR.parse(request.query_params.multi_items())
        if page is not None:
            numbered = await badges.get_paginated(PaginationParams.of_page(page, limit), order, filters)
            return {"ranks": [badge.rank for badge in numbered.data], "total": numbered.total}
        found = await badges.get_cursor_page(cursor, limit=limit, order_by=order, filters=filters)
        return {"ranks": [badge.rank for badge in found.data], "next": found.next_cursor}

    return router


@pytest.fixture
async def filled(staff: None, database: Database) -> Any:
    async with get_db_context(database) as session:
        badges = AsyncBaseRepository(Badge, session)
        ids = [
            badge.id
            for badge in await badges.bulk_create([{"rank": n, "text": f"t{n % 2}"} for n in range(6)])
        ]
    yield
    async with get_db_context(database) as session:
        await AsyncBaseRepository(Badge, session).bulk_delete(ids)


@pytest.mark.usefixtures("filled", "clean_store")
async def test_a_list_is_followed_by_its_cursors_and_mistakes_are_422_by_name(settings: Settings) -> None:
    async with serving(settings, Feature(name="badges", router=badges_router())) as service:
        get = service.client.get
        seen: list[int] = []
        parameters: dict[str, Any] | None = {"order_by": "-rank", "rank__gte": "1"}
        while parameters is not None:
            page = (await get("/badges", params=parameters)).json()
            seen += page["ranks"]
            parameters = {**parameters, "cursor": page["next"]} if page["next"] else None
        assert seen == [5, 4, 3, 2, 1]
        numbered = await get("/badges", params={"page": 2, "text": "t1"})
        assert numbered.json() == {"ranks": [5], "total": 3}
        for wrong, name in (
            ({"cursor": "made-up"}, "cursor"),
            ({"rank__gte": "high"}, "rank__gte"),
            ({"rank__like": "1"}, "rank__like"),
            ({"given_at": "2026"}, "given_at"),
            ({"order_by": "-id"}, "id"),
            ({"limit": "0"}, "limit"),
            ({"limit": "101", "page": "1"}, "limit"),
            ({"page": "0"}, "page"),
        ):
            answer = await get("/badges", params=wrong)
            assert answer.status_code == 422, wrong
            assert answer.json()["errors"][0]["loc"] == [name]
            assert answer.headers["content-type"] == "application/problem+json"


def writing_router() -> APIRouter:
    router = APIRouter()

    @router.post("/badges", dependencies=[enforce_all_policies("badges_write", CONFIG)])
    @api_worker(CONFIG)
    async def write(db: Annotated[AsyncSession, Depends(get_db)], how: str) -> int:
        badges = AsyncBaseRepository(Badge, db)
        if how == "unit of work":
            async with UnitOfWork(db):
                await badges.create({"rank": 1})
        elif how == "commit":
            await badges.create({"rank": 1})
            await badges.commit()
        elif how == "rollback":
            await badges.create({"rank": 100})
            await badges.rollback()
        # What is left is the route's to commit, or to undo when the handler fails.
        await badges.create({"rank": 2})
        if how == "fail":
            raise ZeroDivisionError
        return await badges.count()

    return router


@pytest.mark.parametrize(
    ("how", "kept"),
    [("unit of work", [1, 2]), ("commit", [1, 2]), ("rollback", [2]), ("plain", [2]), ("fail", [])],
)
@pytest.mark.usefixtures("staff", "clean_store")
async def test_commits_of_the_documents_work_in_a_request_and_the_route_does_the_rest(
    settings: Settings, database: Database, how: str, kept: list[int]
) -> None:
    async with serving(settings, Feature(name="badges", router=writing_router())) as service:
        answer = await service.client.post("/badges", params={"how": how})
    assert answer.status_code == (500 if how == "fail" else 200)
    async with get_db_context(database) as session:
        badges = AsyncBaseRepository(Badge, session)
        found = await badges.get_all(order_by="rank")
        await badges.bulk_delete([badge.id for badge in found])
    assert [badge.rank for badge in found] == kept
