"""An endpoint that loads rows one by one, for the page that finds such."""

from typing import Annotated

from fastapi import Depends
from sqlalchemy import text

from app.core import APIRouter, JobConfig, api_worker, enforce_all_policies
from app.core.db import AsyncSession, get_db
from app.registry import Feature

OPEN = JobConfig.public()
router = APIRouter(prefix="/shop")


@router.get("/orders", dependencies=[enforce_all_policies("shop_orders", OPEN)])
@api_worker(OPEN)
async def list_orders(count: int, db: Annotated[AsyncSession, Depends(get_db)]) -> list[str]:
    orders = await db.scalars(
        text("SELECT customer_id FROM shop.orders ORDER BY id LIMIT :count"), {"count": count}
    )
    one = text("SELECT name FROM shop.customers WHERE id = :id")
    return [str(await db.scalar(one, {"id": customer})) for customer in orders.all()]


SHOP = Feature(name="shop", router=router)
