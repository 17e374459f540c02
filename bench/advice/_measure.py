"""What a statement costs on the server, as it is and with indexes that are taken back."""

import json
import statistics
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from bench.advice._case import Case

_SLOW_MS, _RUNS, _RUNS_OF_SLOW = 30.0, 7, 3
_INDEXES = "SELECT oid, relname AS name FROM pg_class WHERE relkind IN ('i', 'I')"


@dataclass(frozen=True, slots=True)
class Effort:
    """Milliseconds (median, warm, without planning), 8 kB blocks touched, and the names of the indexes in the plan."""

    ms: float
    blocks: int
    indexes: frozenset[str]

    def is_used(self, made: Sequence[frozenset[str]]) -> bool:
        """Whether each of the indexes that were made is in the plan; one on a partitioned table has many names."""
        return all(names & self.indexes for names in made)


@asynccontextmanager
async def taken_back(connection: Any) -> AsyncIterator[None]:
    """Whatever the block does is rolled back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


@asynccontextmanager
async def with_indexes(connection: Any, specs: Sequence[str]) -> AsyncIterator[list[frozenset[str]]]:
    """The indexes exist while the block runs; the names of each. What an expression's values are is measured, too."""
    async with taken_back(connection):
        made = []
        for spec in specs:
            before = {row["oid"] for row in await connection.fetch(_INDEXES)}
            await connection.execute(f"CREATE INDEX ON {spec}")
            new = [row for row in await connection.fetch(_INDEXES) if row["oid"] not in before]
            made.append(frozenset(row["name"] for row in new))
            if "((" in spec or "(lower" in spec or "to_tsvector" in spec:
                await connection.execute(f"ANALYZE {table_of(spec)}")
        yield made


def table_of(spec: str) -> str:
    """The table of ``"Legacy Orders" (x)`` or ``orders USING gin (x)``."""
    if spec.startswith('"'):
        return spec[: spec.index('"', 1) + 1]
    return spec.split(maxsplit=1)[0]


async def effort(connection: Any, case: Case) -> Effort:
    """Run the statement some times, each time taken back. With ``$1`` as a generic plan, as the adviser sees it."""
    async with taken_back(connection):
        statement = case.sql
        if case.values:
            await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            await connection.execute(f"PREPARE measured AS {case.sql}")
            statement = f"EXECUTE measured({case.values})"
        try:
            return await _effort(connection, statement)
        finally:
            if case.values:
                await connection.execute("DEALLOCATE measured")


async def _effort(connection: Any, statement: str) -> Effort:
    first = await _once(connection, statement)
    runs = [
        await _once(connection, statement) for _ in range(_RUNS_OF_SLOW if first.ms > _SLOW_MS else _RUNS)
    ]
    return Effort(statistics.median(run.ms for run in runs), runs[-1].blocks, runs[-1].indexes)


async def _once(connection: Any, statement: str) -> Effort:
    async with taken_back(connection):
        answer = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}")
    plan = json.loads(answer)[0]
    nodes = list(_nodes(plan["Plan"]))
    blocks = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    return Effort(
        plan["Execution Time"], blocks, frozenset(n["Index Name"] for n in nodes if "Index Name" in n)
    )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


async def effort_with(connection: Any, case: Case, specs: Sequence[str]) -> tuple[Effort, bool] | str:
    """The effort with these indexes, and whether the plan has them all; or why they cannot be made."""
    try:
        async with with_indexes(connection, specs) as made:
            measured = await effort(connection, case)
            return measured, case.is_unseen_by_plan or measured.is_used(made)
    except asyncpg.PostgresError as error:
        return str(error)
