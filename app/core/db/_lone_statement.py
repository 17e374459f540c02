"""One statement that the driver runs without SQLAlchemy, with what SQLAlchemy's listeners do for all others."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.db._errors import (
    DRIVER_ERRORS,
    CommitOutcomeUnknown,
    DatabaseTimeout,
    DatabaseUnavailable,
    translate,
    translate_commit,
)
from app.core.db._query_footprint import footprint
from app.core.db._query_notes import end_written
from app.core.db._query_reading import current_reading
from app.core.db._session_scope import note_commit


@asynccontextmanager
async def noted(statement: str) -> AsyncIterator[None]:
    """End what the query cache has of the tables that the statement in the block writes, after it was committed or may have been."""
    mark = footprint(statement)
    seen = current_reading()
    if seen is not None:
        seen.add(mark, is_snapshot=False)  # It is a transaction of its own.
    if mark.writes:
        note_commit()
    try:
        yield
    except asyncio.CancelledError:
        end_written(mark.writes)  # Nobody waits for it.
        raise
    except CommitOutcomeUnknown:
        await _ended(mark.writes)
        raise
    await _ended(mark.writes)


async def _ended(tags: Iterable[str]) -> None:
    if (task := end_written(tags)) is not None:
        await asyncio.shield(task)


async def run_alone(
    connection: AsyncConnection, statement: str, values: Sequence[Any], *, in_transaction: bool
) -> Any:
    """The rows. A connection that broke, or that is in the middle of a statement, does not go back to the pool."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    try:
        with _outcome_told(statement):
            # Preparing and running are two messages, and a pooler may give each to another server.
            async with driver.transaction() if in_transaction else nullcontext():
                return await driver.fetch(statement, *values)
    except BaseException as error:
        if _is_lost(error):
            await connection.invalidate()
        raise


@contextmanager
def _outcome_told(statement: str) -> Iterator[None]:
    """Raise ``CommitOutcomeUnknown`` for a write that may have been committed: the server commits before it answers."""
    try:
        yield
    except (*DRIVER_ERRORS, OSError) as error:
        is_lost = isinstance(translate(error), (DatabaseUnavailable, DatabaseTimeout))
        if is_lost and footprint(statement).writes and (unknown := translate_commit(error)):
            raise unknown from error
        raise


def _is_lost(error: BaseException) -> bool:
    cause = error.__cause__ if isinstance(error, CommitOutcomeUnknown) else error
    # Only after the server's own refusal is it ready for the next statement. After one of the driver's the server still waits for the
    # values, with the statement's locks.
    return getattr(cause, "severity_en", None) != "ERROR"
