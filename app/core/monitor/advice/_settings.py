"""Settings that last as long as a block."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def settings(connection: Any, *commands: str) -> AsyncIterator[None]:
    """``commands`` (ours, ``SET LOCAL ...``) inside a savepoint; afterwards all is as it was. An error leaves a transaction that goes
    on.
    """
    await connection.execute("; ".join(("SAVEPOINT gatehouse_settings", *commands)))
    try:
        yield
    finally:
        await connection.execute(
            "ROLLBACK TO SAVEPOINT gatehouse_settings; RELEASE SAVEPOINT gatehouse_settings"
        )
