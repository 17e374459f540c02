"""Document 001's whole example: a database endpoint guarded by hand."""

# ruff: noqa: B008 - Depends(...) as a default, as the document writes it

import logging
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import Depends, HTTPException
from sqlalchemy import text

from app.core import APIRouter
from app.core.db import Database, QueryOptimizer, get_db_client
from app.core.http import require_credits, require_scope, roles_required, token_bucket
from app.core.observability import get_tracer, record_db_latency
from app.core.policies import CREDIT
from app.core.valkey import get_or_set_cache
from app.registry import Feature
from app.settings import Settings
from tests.credited import CREDITS, balance_of, give
from tests.gated import bearer, serving
from tests.requirements.shop import Item

router = APIRouter()
tracer = get_tracer(__name__)


@router.get("/records/{record_id}")
@token_bucket(max_tokens=5, refill_rate=0.001)  # the document's 1 a second would be timing
@require_credits(amount=2)
async def get_record(
    record_id: int,
    user: Any = Depends(require_scope("read:records")),
    roles: Any = Depends(roles_required(["db_reader"])),
    db: Any = Depends(get_db_client),
) -> Any:
    cache_key = f"record:{record_id}"

    async def fetch_record() -> list[dict[str, Any]]:
        with tracer.start_as_current_span("db_query"):
            async with record_db_latency("get_record"):
                try:
                    found = await QueryOptimizer.optimized_query(Item, {"id": record_id}, db)
                except Exception as exc:
                    logging.error(f"DB error: {exc}")  # noqa: G004, LOG015, TRY400 - as the document writes it
                    raise HTTPException(status_code=500, detail="Database error") from exc
        # Many, as in document 000; what goes into the cache is data.
        return [{"id": item.id, "name": item.name} for item in found]

    result = await get_or_set_cache(cache_key, fetch_record, expire=300)
    if not result:
        raise HTTPException(status_code=404, detail="Record not found")
    return result


async def test_001_10_a_record_is_limited_priced_checked_cached_and_timed(
    settings: Settings,
    database: Database,
    clean_store: None,
    clean_database: None,
    shop: UUID,
    *,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ann, bob = uuid4(), uuid4()
    for user in (ann, bob):
        await give(database, str(user), 20)
    feature = Feature(name="records", router=router, open_routes={"/records/{record_id}": "guarded by hand"})
    async with database.session() as session:
        number = await session.scalar(text("SELECT id FROM shop.items WHERE name = 'pen'"))

    def allowed(user: UUID) -> dict[str, str]:
        return bearer(user, scopes=["read:records"], roles=["db_reader"])

    async with serving(settings, CREDITS, feature) as service:

        async def get(record: Any, headers: dict[str, str]) -> Any:
            return await service.client.get(f"/records/{record}", headers=headers)

        first = await get(number, allowed(ann))
        async with database.connect() as connection:  # behind every cache's back
            await connection.execute(text("UPDATE shop.items SET name = 'quill'"))
        kept = await get(number, allowed(ann))
        missing, broken = await get(4711, allowed(bob)), await get(2**40, allowed(bob))
        rest = [await get(number, allowed(ann)) for _ in range(4)]
        without_role = await get(number, bearer(ann, scopes=["read:records"]))
        without_scope = await get(number, bearer(ann, roles=["db_reader"]))
        shown = (await service.client.get("/metrics")).text
        assert service.platform.database.pool_status().checked_out == 0
    assert (first.status_code, first.json()) == (200, [{"id": number, "name": "pen"}])
    assert (kept.status_code, kept.content) == (200, first.content)
    assert (missing.status_code, missing.json()["detail"]) == (404, "Record not found")
    assert (broken.status_code, broken.json()["detail"]) == (500, "Database error")
    assert "DB error: " in caplog.text
    assert [answer.status_code for answer in rest] == [200, 200, 200, 429]
    assert (without_role.status_code, without_scope.status_code) == (403, 403)
    assert await balance_of(database, str(ann)) == (20 - 5 * 2) * CREDIT
    assert 'db_latency_seconds_count{operation="get_record"} 3.0' in shown
    assert 'db_latency_seconds_count{operation="Item.optimized_query"}' in shown
