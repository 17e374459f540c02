"""The query cache inside gated requests, whose commit the route does."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

from fastapi import Depends
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import APIRouter, JobConfig, api_worker, enforce_all_policies
from app.core.db import Database, cached_query, get_db, get_db_context, invalidate_table_cache
from app.registry import Feature
from app.settings import Settings
from tests.gated import serving
from tests.staff import Template

CONFIG = JobConfig.public()
Db = Annotated[AsyncSession, Depends(get_db)]
Open = Callable[[], AbstractAsyncContextManager[Any]]


@cached_query(ttl=60, scope="public", tables=["staff.templates"])
async def titles(db: AsyncSession) -> list[str]:
    return list(await db.scalars(select(Template.title).order_by(Template.id)))


def router() -> APIRouter:
    router = APIRouter()

    @router.get("/titles", dependencies=[enforce_all_policies("titles", CONFIG)])
    @api_worker(CONFIG)
    async def read(db: Db) -> list[str]:
        return await titles(db)

    @router.post("/titles", dependencies=[enforce_all_policies("add_title", CONFIG)])
    @api_worker(CONFIG)
    async def add(db: Db, title: str, *, fail: bool = False) -> list[str]:
        await db.execute(insert(Template).values(id=len(title), title=title))
        await invalidate_table_cache("staff.templates")
        seen = await titles(db)
        if fail:
            raise ZeroDivisionError
        return seen

    return router


async def test_a_request_sees_its_own_and_all_others_after_its_answer(
    staff: None, database: Database, settings: Settings, clean_store: None
) -> None:
    async with serving(settings, Feature(name="titles", router=router())) as service:

        async def read() -> Any:
            return (await service.client.get("/titles")).json()

        try:
            assert [await read(), await read()] == [[], []]
            assert (await service.client.post("/titles?title=a")).json() == ["a"]
            assert [await read(), await read()] == [["a"], ["a"]]
            assert (await service.client.post("/titles?title=bb&fail=true")).status_code == 500
            assert await read() == ["a"]
        finally:
            async with get_db_context(database) as db:
                await db.execute(Template.__table__.delete())  # type: ignore[attr-defined]
