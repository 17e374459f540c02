"""Operators, types and functions, asked of the server's catalogs: which index can serve what."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.core.db import DRIVER_ERRORS
from app.core.monitor.advice._expressions import (
    Call,
    Cast,
    Collated,
    Column,
    Constant,
    Expression,
    Given,
    IsTest,
    OfArray,
    Operation,
    Row,
    columns_of,
    is_understood,
    parts_of,
    walk,
)
from app.core.monitor.advice._rendering import quoted, rendered
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
_METHODS = ("btree", "gin", "gist")
_LENGTH = re.compile(r"\([\d,]+\)")
_GRAMMAR = frozenset({"coalesce", "greatest", "least", "nullif"})
_INET = frozenset({"inet", "cidr"})


@dataclass(frozen=True)
class Classes:
    """What was asked; answers of nothing mean no. Made by ``classes_of``."""

    types: Mapping[tuple[str, Expression], tuple[int, str]] = field(default_factory=dict)
    serving: Mapping[tuple[str, int], tuple[tuple[str, str, bool], ...]] = field(default_factory=dict)
    ordering: Mapping[tuple[str, int], tuple[tuple[str, str, bool], ...]] = field(default_factory=dict)
    functions: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    operators: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    casts: Mapping[tuple[int, str], str] = field(default_factory=dict)
    own_types: frozenset[str] = frozenset()
    has_trigrams: bool = False

    def is_volatile(self, expression: Expression) -> bool:
        """Whether it may have another value for each row: an index cannot be asked for that."""
        calls = (it for it in walk(expression) if isinstance(it, Call) and it.form == "")
        return any(
            known.volatility == "v" for call in calls for known in self.functions.get(_function(call), ())
        )

    def type_oid(self, alias: str, table: TableFacts, expression: Expression) -> int | None:
        """The type's oid, None if it could not be told."""
        if isinstance(expression, Column):
            column = table.columns.get(expression.name)
            return column.type_oid if column is not None else None
        found = self.types.get((alias, expression))
        return found[0] if found is not None else None

    def type_of(self, alias: str, table: TableFacts, expression: Expression) -> str | None:
        """The type's name."""
        if isinstance(expression, Column):
            column = table.columns.get(expression.name)
            return column.type if column is not None else None
        found = self.types.get((alias, expression))
        return found[1] if found is not None else None

    def has_btree(self, alias: str, table: TableFacts, key: Expression, operator: str) -> bool:
        """Whether a b-tree of the key serves the operator."""
        oid = self.type_oid(alias, table, key)
        return any(it[0] == "btree" for it in self.serving.get((operator, oid or 0), ()))

    def pattern_class(self, alias: str, table: TableFacts, key: Expression) -> str | None:
        """The operator class that makes a b-tree serve LIKE 'x%': none needed where text is ordered by bytes."""
        names = [it.name for it in columns_of(key)]
        if all(table.columns[name].sorts_bytewise for name in names if name in table.columns):
            return None
        return {"character varying": "varchar_pattern_ops", "character": "bpchar_pattern_ops"}.get(
            self.type_of(alias, table, key) or "", "text_pattern_ops"
        )

    def search_class(
        self, alias: str, table: TableFacts, key: Expression, operator: str
    ) -> tuple[str, str | None] | None:
        """Method and operator class (None: the usual one) that serve an operator beyond order."""
        oid = self.type_oid(alias, table, key) or 0
        if operator in {"<<", "<<="} and self.type_of(alias, table, key) in _INET:
            return "btree", None  # The planner makes a range of it.
        found = [it for it in self.serving.get((operator, oid), ()) if it[0] in _METHODS]
        found.sort(key=lambda it: (not it[2], _METHODS.index(it[0]), it[1]))
        return (found[0][0], None if found[0][2] else found[0][1]) if found else None

    def distance_class(self, alias: str, table: TableFacts, key: Expression, operator: str) -> str | None:
        """The GiST operator class that walks in order of a distance; '' for the usual one."""
        oid = self.type_oid(alias, table, key) or 0
        found = [it for it in self.ordering.get((operator, oid), ()) if it[0] == "gist"]
        return ("" if found[0][2] else found[0][1]) if found else None

    def may_be_indexed(self, alias: str, table: TableFacts, expression: Expression) -> bool:
        """Whether it has the same value for a row for ever, as an index needs, and is more than another spelling of a column."""
        if not is_understood(expression) or _is_spelling(expression):
            return False
        return all(self._is_fixed(alias, table, part) for part in walk(expression))

    def is_builtin(self, expression: Expression) -> bool:
        """Whether all that computes in it is PostgreSQL's own: functions, operators and the types of casts."""
        return all(map(self._is_own, walk(expression)))

    def _is_own(self, part: Expression) -> bool:
        match part:
            case Call():
                known = self.functions.get(_function(part), ())
                is_own = bool(known) and all(it.is_builtin for it in known)
                return is_own or _function(part) in _GRAMMAR or part.form != ""
            case Operation(operator, _, _) | OfArray(operator, _, _, _):
                found = self.operators.get(operator, ())
                return bool(found) and all(it.is_builtin for it in found)
            case Cast(_, kind):
                return _base(kind) in self.own_types
            case _:
                return True

    def _is_fixed(self, alias: str, table: TableFacts, part: Expression) -> bool:
        match part:
            case Call():
                return self._is_fixed_call(alias, table, part)
            case Operation(operator, _, _) | OfArray(operator, _, _, _):
                return self._is_fixed_operation(alias, table, part, operator)
            case Cast(of, target):
                return self._is_fixed_cast(alias, table, of, target)
            case Column() | Constant() | Row() | IsTest() | Collated():
                return True
            case _:
                return False

    def _is_fixed_call(self, alias: str, table: TableFacts, call: Call) -> bool:
        name = _function(call)
        if name in _GRAMMAR:
            return True
        known = [
            it
            for it in self.functions.get(name, ())
            if call.form == "extract" or it.count >= len(call.arguments)
        ]
        given = [self.type_oid(alias, table, it) for it in call.arguments]
        if call.form == "extract":
            given = [25, *given]
        exact = [it for it in known if list(it.arguments) == given]
        return bool(known) and all(it.volatility == "i" for it in exact or known)

    def _is_fixed_operation(self, alias: str, table: TableFacts, part: Expression, operator: str) -> bool:
        known = self.operators.get(operator, ())
        given = [self.type_oid(alias, table, it) for it in parts_of(part)]
        if isinstance(part, OfArray):
            given = [given[0], given[0]]
        exact = [it for it in known if [it.left, it.right][-len(given) :] == given]
        return bool(known) and all(it.volatility == "i" for it in exact or known)

    def _is_fixed_cast(self, alias: str, table: TableFacts, of: Expression, target: str) -> bool:
        if isinstance(of, Constant):
            return True
        oid = self.type_oid(alias, table, of)
        return self.casts.get((oid or 0, target.split("(", maxsplit=1)[0])) == "i"


def _function(call: Call) -> str:
    if call.form == "extract":
        return "extract"
    name = call.name.rsplit(".", 1)[-1].strip('"')
    return name.lower() if name.lower() in _GRAMMAR else name


def _base(kind: str) -> str:
    """A type without its length: ``timestamp(3) with time zone`` and ``numeric(10,2)`` are printed so."""
    return _LENGTH.sub("", kind).removesuffix("[]")


def _is_spelling(expression: Expression) -> bool:
    """``(id)::text`` and ``price * 2``: the column itself can be compared instead. A date of a moment and a field of a document are not."""
    match expression:
        case Cast(Column(), target):
            return target != "date"
        case Cast(of, _):
            return _is_spelling(of)
        case Operation("+" | "-" | "*" | "/" | "%", left, right):
            return any(
                isinstance(it, Column) or (it is not None and _is_spelling(it)) for it in (left, right)
            )
        case _:
            return False


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
    casts = sorted({_base(part.type) for _, _, part in wanted if isinstance(part, Cast)})
    names = {_function(part) for _, _, part in wanted if isinstance(part, Call)}
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


@dataclass(frozen=True, slots=True)
class _Known:
    volatility: str
    arguments: tuple[int, ...] = ()
    count: int = 0
    left: int = 0
    right: int = 0
    is_builtin: bool = False


def _by_name(rows: Iterable[Any]) -> dict[str, tuple[_Known, ...]]:
    found: dict[str, tuple[_Known, ...]] = {}
    for row in rows:
        values = {key: value for key, value in row.items() if key != "name"}
        if "arguments" in values:
            values["arguments"] = tuple(values["arguments"])
        found[row["name"]] = (*found.get(row["name"], ()), _Known(**values))
    return found
