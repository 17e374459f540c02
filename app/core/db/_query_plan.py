"""What the server would do for a query, without doing it.

Only ``EXPLAIN`` of a read, never ``ANALYZE``: even in a read-only transaction ``EXPLAIN ANALYZE CREATE TABLE
AS`` makes the table. Text that somebody wrote travels alone, see ``_prepared_text.py``.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import orjson
from sqlalchemy import CompoundSelect, Select, TextClause, UpdateBase, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement, Executable

from app.core.db._prepared_text import QueryNotExplainable, prepared_text, refusal

_EXPLAIN = "EXPLAIN (VERBOSE, FORMAT JSON)"
_LIMITS = (
    "SET LOCAL statement_timeout = '2s'",
    "SET LOCAL lock_timeout = '200ms'",  # EXPLAIN behind a migration's lock would hold up the migration's next.
    "SET LOCAL transaction_read_only = on",
)
_ROWS = text(
    "SELECT n.nspname || '.' || c.relname AS name, c.reltuples AS rows FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname || '.' || c.relname = ANY(:names)"
)
_SMALL = 1000
_SELECTIVE = 0.05


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One step of a plan, with the planner's estimates. ``depth`` is 0 at the top; ``cost`` includes the steps below."""

    kind: str
    depth: int
    cost: float
    rows: float
    relation: str | None = None
    index: str | None = None
    is_filtered: bool = False


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """The planner's choice: ``total_cost`` in its own unit, ``rows`` it expects, the steps from the top down.

    ``findings`` are sentences that name a table and what to look at; none is no proof of a good plan.
    ``is_generic``: planned without the values of its parameters. ``document`` is the server's own JSON; it
    holds the query's literals, so it is neither shown nor logged by itself.
    """

    total_cost: float
    rows: float
    nodes: tuple[PlanNode, ...]
    findings: tuple[str, ...]
    is_generic: bool
    document: dict[str, Any] = field(repr=False)


class _Explain(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, statement: Select[Any] | CompoundSelect[Any]) -> None:
        self.statement = statement


@compiles(_Explain)
def _explain(element: _Explain, compiler: SQLCompiler, **options: Any) -> str:
    return f"{_EXPLAIN} {compiler.process(element.statement, **options)}"


async def analyze_query_plan(session: AsyncSession, query: Executable | str) -> QueryPlan:
    """Ask the server how it would run ``query``: a ``select()``, or one read as text.

    A ``select()`` is planned for its values. Text is planned generically: ``text()`` with ``:name`` for
    parameters, a plain string with ``$1``. Runs on the session's connection inside a savepoint, so it sees
    what the session wrote and leaves nothing behind, not even when it fails; at most 2 s a step, and 200 ms of
    waiting for a lock. The session is not flushed. Nothing of the query runs, except functions that PostgreSQL
    computes while it plans. Raises QueryNotExplainable (422) for anything but a read, DatabaseTimeout when it
    takes too long. Not for callers' text: only for operators, who may see all data anyway.
    """
    connection = await session.connection()
    async with _careful(connection):
        document = await _document(connection, query)
        nodes = tuple(_nodes(document["Plan"], 0))
        if any(node.kind == "ModifyTable" for node in nodes):
            raise QueryNotExplainable("it would write")
        findings = tuple(await _findings(connection, nodes))
    is_generic = not isinstance(query, Select | CompoundSelect)
    return QueryPlan(nodes[0].cost, nodes[0].rows, nodes, findings, is_generic, document)


@asynccontextmanager
async def _careful(connection: AsyncConnection) -> AsyncIterator[None]:
    """A savepoint with our limits, rolled back whatever happens; the server's errors leave it as ours."""
    try:
        savepoint = await connection.begin_nested()
        try:
            for limit in _LIMITS:
                await connection.execute(text(limit))
            yield
        finally:
            await savepoint.rollback()
    except (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise refusal(error) from error


async def _document(connection: AsyncConnection, query: Executable | str) -> dict[str, Any]:
    if not isinstance(query, Select | CompoundSelect):
        return await _explain_text(connection, _text_of(connection, query))
    found = (await connection.execute(_Explain(query))).scalar_one()
    document: dict[str, Any] = (orjson.loads(found) if isinstance(found, str | bytes) else found)[0]
    return document


def _text_of(connection: AsyncConnection, query: Executable | str) -> str:
    if isinstance(query, UpdateBase):
        raise QueryNotExplainable("it would write")
    if not isinstance(query, TextClause | str):
        raise QueryNotExplainable("it is neither a select() nor text")
    return query if isinstance(query, str) else str(query.compile(dialect=connection.dialect))


async def _explain_text(connection: AsyncConnection, sql: str) -> dict[str, Any]:
    driver = (await connection.get_raw_connection()).driver_connection
    # SQLAlchemy would put the text and its parameters into one call; here it has to be parsed alone.
    async with prepared_text(driver, sql) as prepared:
        if not prepared.has_columns:
            # No columns: no read. EXPLAIN would show the inner plan of a CREATE TABLE AS like that of a SELECT.
            raise QueryNotExplainable("it is no SELECT")
        return await prepared.explain()


def _nodes(plan: dict[str, Any], depth: int) -> Iterator[PlanNode]:
    name = plan.get("Relation Name")
    yield PlanNode(
        kind=plan["Node Type"],
        depth=depth,
        cost=plan["Total Cost"],
        rows=plan["Plan Rows"],
        relation=f"{plan['Schema']}.{name}" if name is not None else None,
        index=plan.get("Index Name"),
        is_filtered="Filter" in plan,
    )
    for below in plan.get("Plans", ()):
        yield from _nodes(below, depth + 1)


async def _findings(connection: AsyncConnection, nodes: tuple[PlanNode, ...]) -> list[str]:
    scans = [node for node in nodes if node.kind == "Seq Scan" and node.relation is not None]
    if not scans:
        return []
    names = sorted({str(node.relation) for node in scans})
    sizes = {row.name: row.rows for row in await connection.execute(_ROWS, {"names": names})}
    found = [
        f"{name}: was never analysed, so these are guesses; run ANALYZE first"
        for name in names
        if sizes.get(name, 0) < 0
    ]
    for node in scans:
        rows = sizes.get(node.relation, 0)
        if node.is_filtered and rows >= _SMALL and node.rows <= rows * _SELECTIVE:
            found.append(
                f"{node.relation}: reads about {rows:.0f} rows to keep {node.rows:.0f};"
                " an index on the columns of the condition may help"
            )
    return found
