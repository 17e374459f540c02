"""How large the tables of a plan are, and how well the planner knows them. Locks nothing."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from app.core.monitor._plan import Plan
from app.core.monitor._server import Asked

# https://www.postgresql.org/docs/current/catalog-pg-class.html: reltuples is -1 where nobody has counted yet.
_FACTS: LiteralString = """
SELECT pg_catalog.concat_ws('.', n.nspname, c.relname) AS name, c.reltuples::float8 AS rows, c.relpages AS pages,
       coalesce(pg_catalog.pg_stat_get_mod_since_analyze(c.oid), 0)::float8 AS changed,
       greatest(pg_catalog.pg_stat_get_last_analyze_time(c.oid), pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid)) AS analyzed_at
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE pg_catalog.concat_ws('.', n.nspname, c.relname) = ANY ($1::text[]) ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class PlannedTable:
    """A table as the planner knows it; ``rows`` -1: never counted. ``changed``: rows since ``analyzed_at`` (None: unknown)."""

    name: str
    rows: float
    pages: int
    changed: float
    analyzed_at: datetime | None


async def planned_tables(asked: Asked, plan: Plan) -> dict[str, PlannedTable]:
    """Facts of the tables that ``plan`` reads, by ``schema.table``."""
    names = sorted({step.table for step in plan.root.walk() if step.table is not None})
    rows = await asked.fetch(_FACTS, names) if names else []
    return {row["name"]: PlannedTable(**row) for row in rows}
