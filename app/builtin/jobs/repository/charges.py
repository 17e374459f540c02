"""How often a job was charged: each time under a key of its own."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import translate_errors

_COUNT = text(
    "UPDATE jobs SET charge_no = charge_no + 1 WHERE id = :id AND is_charged RETURNING name, charge_no"
)


class ChargeCount(NamedTuple):
    """The job's name, and the number of its newest charge; the first is 0."""

    name: str
    number: int


async def count_charge(session: AsyncSession, job_id: UUID) -> ChargeCount | None:
    """One more. None for a job that nobody pays for."""
    with translate_errors():
        row = (await session.execute(_COUNT, {"id": job_id})).first()
    return None if row is None else ChargeCount(*row)
