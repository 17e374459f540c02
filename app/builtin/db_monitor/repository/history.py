"""What all kinds of history have in common."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import translate_errors

_CAN = text("SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'")


async def can_write(session: AsyncSession) -> bool:
    """Whether this server takes writes: no standby, and not set to read only. Raises a DatabaseError."""
    with translate_errors():
        return bool(await session.scalar(_CAN))
