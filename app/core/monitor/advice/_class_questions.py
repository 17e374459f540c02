"""Questions to the catalogs about the operators, types and functions of a statement."""

from collections.abc import Iterable
from typing import Any

from app.core.db import DRIVER_ERRORS
from app.core.monitor._relations import quoted
from app.core.monitor.advice._classes import Classes, Known, base_of, function_of
from app.core.monitor.advice._expressions import (
    Call,
    Cast,
    Column,
    Expression,
    Given,
    OfArray,
    Operation,
    columns_of,
    is_understood,
    walk,
)
from app.core.monitor.advice._rendering import rendered
from app.core.monitor.advice._settings import settings
from app.core.monitor.advice._tables import TableFacts, bare

# For each operator the index methods that serve it, by the type on its left.
# https://www.postgresql.org/docs/current/xindex.html
_SERVING = """
SELECT w.operator, w.type::oid AS type, m.amname::text AS method, o.opcname::text AS class, o.opcdefault AS is_default
FROM unnest($1::text[], $2::oid[]) AS w(operator, type)
JOIN pg_catalog.pg_type t ON t.oid = w.type
JOIN pg_catalog.pg_operator p ON p.oprname = w.operator
JOIN pg_catalog.pg_amop a ON a.amopopr = p.oid AND a.amoppurpose = $3
JOIN pg_catalog.pg_am m ON m.oid = a.amopmethod
JOIN pg_catalog.pg_opclass o ON o.opcfamily = a.amopfamily AND o.opcmethod = m.oid AND pg_catalog.pg_opclass_is_visible(o.oid)
WHERE o.opcintype = a.amoplefttype AND o.opcintype IN (
    t.oid, t.typbasetype,
    CASE WHEN t.typcategory = 'A' THEN 2277 END, CASE t.typtype WHEN 'e' THEN 3500 WHEN 'r' THEN 3831 WHEN 'm' THEN 4537 END,
    (SELECT k.casttarget FROM pg_catalog.pg_cast k JOIN pg_catalog.pg_type kt ON kt.oid = k.casttarget
     WHERE k.castsource = coalesce(nullif(t.typbasetype, 0), t.oid) AND k.castmethod = 'b' AND k.castcontext = 'i'
     ORDER BY kt.typispreferred DESC, kt.typcategory = t.typcategory DESC LIMIT 1))
"""
_FUNCTIONS = """
SELECT p.proname::text AS name, p.proargtypes::oid[]::bigint[] AS arguments, p.provolatile::text AS volatility, p.pronargs AS count,
       n.nspname = 'pg_catalog' AS is_builtin
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE p.proname = ANY($1::text[])
"""
_OPERATORS = """
SELECT o.oprname::text AS name, p.provolatile::text AS volatility, o.oprleft::bigint AS left, o.oprright::bigint AS right,
       o.oprnamespace = 'pg_catalog'::regnamespace AND p.pronamespace = 'pg_catalog'::regnamespace AS is_builtin
FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode WHERE o.oprname = ANY($1::text[])
"""
_CASTS = """
SELECT k.castsource::bigint AS source, pg_catalog.format_type(k.casttarget, NULL) AS target, coalesce(p.provolatile::text, 'i') AS
volatility, k.castmethod::text AS method
FROM pg_catalog.pg_cast k LEFT JOIN pg_catalog.pg_proc p ON p.oid = k.castfunc WHERE k.castsource = ANY($1::oid[])
"""
# Other casts go by way of text, if the one side is text: the types' own functions do them.
_TEXTUAL = """
SELECT t.oid::bigint AS oid, pg_catalog.format_type(t.oid, NULL) AS name, t.typcategory::text AS category,
       i.provolatile::text AS reading, o.provolatile::text AS writing
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_proc i ON i.oid = t.typinput JOIN pg_catalog.pg_proc o ON o.oid = t.typoutput
WHERE t.oid = ANY($1::oid[]) OR pg_catalog.format_type(t.oid, NULL) = ANY($2::text[])
"""
_OWN_TYPES = """
SELECT pg_catalog.format_type(t.oid, NULL) AS name FROM pg_catalog.pg_type t
WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm') AND pg_catalog.format_type(t.oid, NULL) = ANY($1::text[])
"""


async def classes_of(
    connection: Any, readings: Iterable[tuple[str, TableFacts, tuple[Expression, ...]]], *, has_trigrams: bool
) -> Classes:
    """Ask what is needed for these conditions: (alias, table, conditions)."""
    wanted = [(alias, table, part) for alias, table, clauses in readings for part in _parts(clauses)]
    types = await _types(connection, wanted)
    signs = {part.operator for _, _, part in wanted if isinstance(part, Operation | OfArray)} | {"=", "<"}
    oids = {it[0] for it in types.values()} | {
        it.type_oid for _, table, _ in wanted for it in table.columns.values()
    }
    pairs = [(sign, oid) for sign in signs for oid in oids]
    casts = sorted({base_of(part.type) for _, _, part in wanted if isinstance(part, Cast)})
    names = {function_of(part) for _, _, part in wanted if isinstance(part, Call)}
    return Classes(
        types={**types, **{(alias, bare(part)): found for (alias, part), found in types.items()}},
        serving=await _serving(connection, pairs, "s"),
        ordering=await _serving(connection, [it for it in pairs if "<->" in it[0]], "o"),
        functions=_by_name(await connection.fetch(_FUNCTIONS, sorted(names)) if names else []),
        operators=_by_name(await connection.fetch(_OPERATORS, sorted(signs))),
        casts=await _casts(connection, oids, casts),
        own_types=frozenset(row["name"] for row in await connection.fetch(_OWN_TYPES, casts)),
        has_trigrams=has_trigrams,
    )


def _parts(clauses: tuple[Expression, ...]) -> Iterable[Expression]:
    for clause in clauses:
        yield from walk(clause)


async def _casts(connection: Any, sources: set[int], targets: list[str]) -> dict[tuple[int, str], str]:
    """How fixed each cast is: i, s or v."""
    rows = await connection.fetch(_TEXTUAL, sorted(sources), targets)
    found = {
        (source["oid"], target["name"]): max(source["writing"], target["reading"])
        for source in rows
        for target in rows
        if "S" in (source["category"], target["category"])
    }
    for row in await connection.fetch(_CASTS, sorted(sources)):
        if row["method"] != "i":
            found[row["source"], row["target"]] = "i" if row["method"] == "b" else row["volatility"]
    return found


async def _types(
    connection: Any, wanted: Iterable[tuple[str, TableFacts, Expression]]
) -> dict[tuple[str, Expression], tuple[int, str]]:
    """The types of expressions, of each table in one question; one by one where one of them has no type of its own."""
    found: dict[tuple[str, Expression], tuple[int, str]] = {}
    by_table: dict[str, tuple[TableFacts, dict[Expression, None]]] = {}
    for alias, table, part in wanted:
        is_own = {it.alias for it in columns_of(part)} <= {alias}
        if is_own and not isinstance(part, Column) and is_understood(part) and not _has_parameter(part):
            by_table.setdefault(alias, (table, {}))[1][part] = None
    for alias, (table, parts) in by_table.items():
        known = await _typed(connection, alias, table, list(parts))
        for part, one in zip(parts, known, strict=True):
            if one is not None:
                found[alias, part] = one
    return found


async def _typed(
    connection: Any, alias: str, table: TableFacts, parts: list[Expression]
) -> list[tuple[int, str] | None]:
    """Of the results of questions that read nothing."""
    name = f"{quoted(table.schema)}.{quoted(table.name)} AS {quoted(alias)}"
    wanted = ", ".join(
        f"pg_catalog.pg_typeof((SELECT {rendered(it)} FROM {name} WHERE false))"  # noqa: S608 - the server's own text
        for it in parts
    )
    try:
        async with settings(connection):
            row = await connection.fetchrow(
                f"SELECT ARRAY[{wanted}]::oid[]::bigint[] AS oids, ARRAY[{wanted}]::text[] AS names"
            )
    except DRIVER_ERRORS:
        if len(parts) == 1:
            return [None]
        return [(await _typed(connection, alias, table, [it]))[0] for it in parts]
    return list(zip(row["oids"], row["names"], strict=True))


def _has_parameter(part: Expression) -> bool:
    return any(isinstance(it, Given) and it.text.startswith("$") for it in walk(part))


async def _serving(
    connection: Any, pairs: list[tuple[str, int]], purpose: str
) -> dict[tuple[str, int], tuple[tuple[str, str, bool], ...]]:
    found: dict[tuple[str, int], tuple[tuple[str, str, bool], ...]] = {}
    if not pairs:
        return found
    rows = await connection.fetch(
        _SERVING, [it[0] for it in pairs], [it[1] for it in pairs], purpose.encode()
    )
    for row in rows:
        slot = (row["operator"], row["type"])
        found[slot] = (*found.get(slot, ()), (row["method"], row["class"], row["is_default"]))
    return found


def _by_name(rows: Iterable[Any]) -> dict[str, tuple[Known, ...]]:
    found: dict[str, tuple[Known, ...]] = {}
    for row in rows:
        values = {key: value for key, value in row.items() if key != "name"}
        if "arguments" in values:
            values["arguments"] = tuple(values["arguments"])
        found[row["name"]] = (*found.get(row["name"], ()), Known(**values))
    return found
