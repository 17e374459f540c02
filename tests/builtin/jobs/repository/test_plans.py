"""What no statement that is asked again and again may cost: each looks for its rows in an index."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.builtin.jobs.repository import queues, rows
from app.core.db import Database

pytestmark = pytest.mark.usefixtures("clean_database")


@pytest.mark.parametrize(
    ("statement", "values", "index"),
    [
        (rows._TAKE_DUE, (1000,), "ix_jobs_publish_at"),
        (rows._TAKE_LOST, ("default", datetime(2026, 1, 1, tzinfo=UTC), 1000), "ix_jobs_queue_published_at"),
        (queues._PURGE, (30, 1000), "pk_jobs"),
    ],
    ids=["due", "lost", "old"],
)
async def test_what_is_looked_for_again_and_again_is_looked_for_in_an_index(
    database: Database, statement: str, values: tuple[Any, ...], index: str
) -> None:
    # A full look at an index has no condition; a full look at the table is what this forbids.
    assert plan_of(await explain(database, statement, *values)) == {index: True, "pk_jobs": True}


async def explain(database: Database, statement: str, *values: Any) -> list[str]:
    async with database.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute("SET enable_seqscan = off")
        try:
            return [row[0] for row in await driver.fetch(f"EXPLAIN {statement}", *values)]
        finally:
            await driver.execute("RESET enable_seqscan")


def plan_of(lines: list[str]) -> dict[str, bool]:
    """Each index that is used, and whether it is asked for something."""
    found: dict[str, bool] = {}
    for at, line in enumerate(lines):
        if "Seq Scan" in line:
            found["the table"] = False
        if " using " in line or "Bitmap Index Scan on " in line:
            index = line.replace("Bitmap Index Scan on ", "using ").partition(" using ")[2].split()[0]
            found[index] = "Index Cond" in "".join(lines[at + 1 : at + 2])
    return found
