"""Tables that refer to the one a DELETE or UPDATE changes: the server looks for referring rows, and no plan shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.core.monitor._plan import PlanStep
from app.core.monitor._server import Asked
from app.core.monitor.advice._expressions import Column
from app.core.monitor.advice._readings import Tables, written_tables
from app.core.monitor.advice._tables import TableFacts

# https://www.postgresql.org/docs/current/catalog-pg-constraint.html
_REFERRING = """
SELECT k.oid, k.conrelid AS referring, n.nspname::text AS schema, c.relname::text AS name, k.confdeltype::text AS on_delete,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u(n, i)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.i) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u(n, i)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.i) AS referred
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.confrelid = $1 AND k.conparentid = 0 ORDER BY k.conname
"""
_MAX_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key of ``table`` (schema, name) over ``columns``, looked up once for each of ``rows`` rows that the statement
    removes or changes."""

    table: tuple[str, str]
    columns: tuple[str, ...]
    referred: str
    rows: float


async def references_of(connection: Asked, root: PlanStep, tables: Tables, sql: str) -> list[Reference]:
    """What has to be looked up because of the statement; what deletes cascade into, too."""
    search = _Search(connection)
    for step in written_tables(root):
        table = tables.get((step.schema or "", step.relation or ""))
        if table is None or step.operation not in {"Delete", "Update"}:
            continue
        changed = None if step.operation == "Delete" else _assigned(sql)
        rows = step.children[0].rows if step.children else 1.0
        await search.follow(table.oid, table.title, changed, max(1.0, rows))
    return list(search.found.values())


class _Search:
    def __init__(self, connection: Asked) -> None:
        self._connection = connection
        self.found: dict[int, Reference] = {}

    async def follow(
        self, oid: int, title: str, changed: frozenset[str] | None, rows: float, *, depth: int = 0
    ) -> None:
        """Foreign keys to one table; ``changed``: the columns that get new values, None: the rows are removed."""
        for row in await self._connection.fetch(_REFERRING, oid):
            if row["oid"] in self.found or (changed is not None and not changed & set(row["referred"])):
                continue
            table = (row["schema"], row["name"])
            self.found[row["oid"]] = Reference(table, tuple(row["columns"]), title, rows)
            if changed is None and row["on_delete"] == "c" and depth < _MAX_DEPTH:
                await self.follow(row["referring"], ".".join(table), None, rows, depth=depth + 1)


def _assigned(sql: str) -> frozenset[str]:
    # The parser takes a quarter of a second to import, and only an UPDATE needs it.
    from app.core.monitor.advice._assigned_columns import assigned_columns  # noqa: PLC0415

    return assigned_columns(sql)


def has_index(table: TableFacts, columns: Sequence[str]) -> str | None:
    """A valid index that begins with these columns, in any order."""
    wanted = {Column(None, name) for name in columns}
    for it in table.indexes:
        is_whole = it.is_valid and not it.predicate and it.method in {"btree", "hash"}
        if is_whole and {key.expression for key in it.keys[: len(columns)]} == wanted:
            return it.name
    return None
