"""Asks the planner what it would do with an index that does not exist (extension hypopg)."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from app.core.db import DRIVER_ERRORS
from app.core.monitor._explain import explain
from app.core.monitor._plan import PlanStep, plan_of
from app.core.monitor._relations import quoted
from app.core.monitor.advice._indexes import Index
from app.core.monitor.advice._settings import settings
from app.core.monitor.advice._suggestions import definition
from app.core.monitor.advice._tables import TableFacts

METHODS = frozenset({"btree", "hash", "brin"})
"""What hypopg can pretend."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """cost: of the statement with the indexes; used: which of them the planner takes; size_bytes: of each."""

    cost: float
    used: tuple[bool, ...]
    sizes: tuple[int, ...]


class Hypothesis:
    """Plans one statement with hypothetical indexes. They live in the session, and are gone when ``with_indexes`` returns."""

    def __init__(self, connection: Any, sql: str) -> None:
        self._connection = connection
        self._sql = sql

    async def with_indexes(
        self, indexes: Sequence[tuple[TableFacts, Index]], *setting: str
    ) -> Verdict | None:
        """The planner's answer with all of ``indexes`` at once, under ``setting``; None if one of them cannot be pretended."""
        async with self._cleaned(*setting):
            try:
                made = [await self._make(table, index) for table, index in indexes]
            except DRIVER_ERRORS:
                return None
            plan = plan_of(await explain(self._connection, self._sql)).root
            sizes = [
                await self._connection.fetchval("SELECT hypopg_relation_size($1)::bigint", oid)
                for oid, _ in made
            ]
        names = _used(plan)
        return Verdict(plan.total_cost, tuple(name in names for _, name in made), tuple(sizes))

    async def _make(self, table: TableFacts, index: Index) -> tuple[int, str]:
        sql = f"CREATE INDEX ON {quoted(table.schema)}.{quoted(table.name)} {definition(index)}"
        row = await self._connection.fetchrow(
            "SELECT indexrelid, indexname::text FROM hypopg_create_index($1)", sql
        )
        return row["indexrelid"], row["indexname"]

    @asynccontextmanager
    async def _cleaned(self, *setting: str) -> AsyncIterator[None]:
        """What is pretended outlives a rollback; only ``hypopg_reset``, or the end of the session, ends it."""
        try:
            async with settings(self._connection, *setting):
                yield
        finally:
            try:
                await self._connection.execute("SELECT hypopg_reset()")
            except BaseException:
                self._connection.terminate()
                raise


def _used(plan: PlanStep) -> frozenset[str]:
    return frozenset(it.index for it in plan.walk() if it.index is not None)
