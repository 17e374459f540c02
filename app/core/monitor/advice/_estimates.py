"""How many rows fit conditions: the server's own estimate, or a look at a sample where it has no statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.core.db import DRIVER_ERRORS
from app.core.errors import GatehouseError
from app.core.monitor._explain import explain
from app.core.monitor._relations import quoted
from app.core.monitor.advice._expressions import Column, Expression, Given, changed, walk
from app.core.monitor.advice._rendering import rendered
from app.core.monitor.advice._settings import settings
from app.core.monitor.advice._tables import TableFacts

_MAX_QUESTIONS = 60
_SAMPLE_PAGES = 200
_SAMPLE_ROWS = 4_000
_SAMPLE_MS = 400


@dataclass(frozen=True, slots=True)
class Sampled:
    """Of ``rows`` that were looked at, ``fitting`` fit the conditions; ``distinct`` values the expression had among them.
    ``is_known``: whether the values in the conditions were known.
    """

    rows: int
    fitting: int
    distinct: int
    is_known: bool


class Estimates:
    """Asks over ``connection``, each question once, and at most 60 of them for one statement."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._known: dict[tuple[int, str], float | None] = {}

    async def share(self, alias: str, table: TableFacts, clauses: Sequence[Expression]) -> float | None:
        """Share of the table's rows that fit all ``clauses`` (1.0 is all), as the server's planner sees it; None if it cannot tell.

        Values from elsewhere (parameters, other tables) count as any value.
        """
        conditions = _conditions(alias, clauses)
        slot = (table.oid, conditions)
        if slot not in self._known:
            self._known[slot] = (
                None if len(self._known) >= _MAX_QUESTIONS else await self._rows(alias, table, conditions)
            )
        rows = self._known[slot]
        return None if rows is None else min(1.0, rows / max(1.0, table.rows))

    async def _rows(self, alias: str, table: TableFacts, conditions: str) -> float | None:
        sql = f"SELECT 1 FROM {_named(table)} AS {quoted(alias)} WHERE {conditions}"  # noqa: S608 - the server's own text
        try:
            document = await explain(self._connection, sql)
        except GatehouseError as error:
            if error.status != 422:
                raise
            return None
        rows: float = document["Plan"]["Plan Rows"]
        return rows

    async def sampled(
        self, alias: str, table: TableFacts, clauses: Sequence[Expression], value: Expression
    ) -> Sampled | None:
        """Look at up to 200 pages of the table, 4,000 rows and 400 ms, as ANALYZE does. Only for conditions that hold nothing but
        PostgreSQL's own unchanging functions. None where that failed.
        """
        percent = min(100.0, max(0.0001, 100.0 * _SAMPLE_PAGES / max(1, table.pages)))
        conditions = _conditions(alias, clauses)
        is_known = not _has_unknown(clauses, alias)
        fits = conditions if is_known else "NULL::boolean"
        sql = (
            f"SELECT count(*)::int AS rows, (count(*) FILTER (WHERE s.fits))::int AS fitting, count(DISTINCT s.value)::int AS distinct"  # noqa: S608
            f" FROM (SELECT ({fits}) AS fits, ({rendered(value)})::text AS value FROM {_named(table)} AS {quoted(alias)}"
            f" TABLESAMPLE SYSTEM ({percent:.6f}) REPEATABLE (1) LIMIT {_SAMPLE_ROWS}) s"
        )
        try:
            async with settings(self._connection, f"SET LOCAL statement_timeout = {_SAMPLE_MS}"):
                row = await self._connection.fetchrow(sql)
        except DRIVER_ERRORS:
            return None
        return Sampled(row["rows"], row["fitting"] or 0, row["distinct"], is_known)


def _named(table: TableFacts) -> str:
    return f"{quoted(table.schema)}.{quoted(table.name)}"


def _conditions(alias: str, clauses: Sequence[Expression]) -> str:
    """SQL of the conditions; what comes from elsewhere as ``$1``, ``$2`` and so on."""
    numbers: dict[Expression, int] = {}

    def replaced(part: Expression) -> Expression | None:
        is_foreign = isinstance(part, Column) and part.alias != alias
        if is_foreign or (isinstance(part, Given) and part.text.startswith("$")):
            return Given(f"${numbers.setdefault(part, len(numbers) + 1)}")
        return None

    return " AND ".join(rendered(changed(clause, replaced)) for clause in clauses) or "true"


def _has_unknown(clauses: Sequence[Expression], alias: str) -> bool:
    """Whether some value comes from elsewhere: a parameter, or another table."""
    found = (part for clause in clauses for part in walk(clause))
    return any(
        (isinstance(it, Given) and it.text.startswith("$")) or (isinstance(it, Column) and it.alias != alias)
        for it in found
    )
