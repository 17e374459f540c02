"""What the advisor answers: indexes with their statements, rewrites, and why there is none."""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from app.core.monitor.advice._cost import index_pages
from app.core.monitor.advice._expressions import Cast, Column, Constant, Expression, Row, changed
from app.core.monitor.advice._options import Index, entry_bytes
from app.core.monitor.advice._rendering import quoted, rendered
from app.core.monitor.advice._tables import PAGE_BYTES, TableFacts
from app.core.monitor.advice._ways import Key

Verified = Literal["hypopg", "estimated"]
_MAX_NAME = 60
_PLAIN_ARRAY = re.compile(r"^'\{[A-Za-z0-9_-]+(?:,[A-Za-z0-9_-]+)*\}'$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """An index to create. Nobody creates it but an operator.

    columns, predicate: SQL with quoted names; a predicate holds no values but those that are part of the schema. ddl: statements in their
    order, none of which may run inside a transaction. cost_before, cost_after: of the statement, in the planner's unit. verified: how
    we know: ``hypopg`` asked the planner with a hypothetical index, ``estimated`` computed it from statistics. size_bytes: estimated.
    writes_per_day: of the table, each of which has to maintain the index, None where unknown. loses_hot: updates of a column that becomes
    indexed are no longer heap-only. replaces: indexes that become needless. needs_extension: to be created before.
    """

    schema: str
    table: str
    name: str
    method: str
    columns: tuple[str, ...]
    include: tuple[str, ...]
    predicate: str | None
    ddl: tuple[str, ...]
    alembic: str
    reason: str
    cost_before: float | None
    cost_after: float | None
    verified: Verified
    size_bytes: int
    writes_per_day: float | None
    hot_percent: float | None
    replaces: tuple[str, ...]
    needs_extension: str | None
    index: Index

    @property
    def gain(self) -> float | None:
        """How many times cheaper the statement becomes, in the planner's unit."""
        if self.cost_before is None or not self.cost_after:
            return None
        return round(self.cost_before / self.cost_after, 1)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A condition that no index serves as it is written. ``instead``: what an index could serve, None where only words help."""

    table: str
    condition: str
    instead: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Advice:
    """For one statement. ``reasons`` is never empty where there is no suggestion."""

    suggestions: tuple[Suggestion, ...]
    rewrites: tuple[Rewrite, ...]
    reasons: tuple[str, ...]
    cost: float
    is_verified: bool


def key_sql(key: Key) -> str:
    """One key as it stands in CREATE INDEX."""
    expression = key.expression
    sql = (
        quoted(expression.name)
        if isinstance(expression, Column)
        else f"({rendered(expression, aliases=False)})"
    )
    if key.operator_class:
        sql += f" {key.operator_class}"
    if key.is_descending:
        sql += " DESC"
    if key.nulls_first is not None:
        sql += " NULLS FIRST" if key.nulls_first else " NULLS LAST"
    return sql


def predicate_sql(predicate: tuple[Expression, ...]) -> str | None:
    """The WHERE of a partial index."""
    return " AND ".join(rendered(changed(it, _listed), aliases=False) for it in predicate) or None


def _listed(part: Expression) -> Expression | None:
    """``'{a,b}'::text[]`` as people write it: ``ARRAY['a'::text, 'b'::text]``."""
    match part:
        case Cast(Constant(text), kind) if kind.endswith("[]") and _PLAIN_ARRAY.match(text):
            values = text[2:-2].split(",")
            return Row(
                "ARRAY", tuple(Cast(Constant(f"'{value}'"), kind.removesuffix("[]")) for value in values)
            )
        case _:
            return None


def definition(index: Index) -> str:
    """From USING on."""
    sql = f"USING {index.method} ({', '.join(map(key_sql, index.keys))})"
    if index.include:
        sql += f" INCLUDE ({', '.join(map(quoted, index.include))})"
    where = predicate_sql(index.predicate)
    return sql if where is None else f"{sql} WHERE {where}"


def index_name(table: TableFacts, index: Index) -> str:
    """A name that says the table and the columns, of at most 60 bytes."""
    words = [it.expression.name if isinstance(it.expression, Column) else "expr" for it in index.keys]
    name = "_".join(("ix", table.name, *words)) + ("_partial" if index.predicate else "")
    if len(name.encode()) <= _MAX_NAME:
        return name
    mark = blake2b(f"{name} {definition(index)}".encode(), digest_size=4).hexdigest()
    return name.encode()[: _MAX_NAME - 9].decode(errors="ignore") + "_" + mark


def statements(table: TableFacts, index: Index, name: str) -> tuple[str, ...]:
    """DDL that does not stop writes. A partitioned table cannot be indexed concurrently as a whole: its parts are, one by one."""
    target = f"{quoted(table.schema)}.{quoted(table.name)}"
    if not table.is_partitioned:
        return (f"CREATE INDEX CONCURRENTLY {quoted(name)} ON {target} {definition(index)}",)
    return (
        f"CREATE INDEX {quoted(name)} ON ONLY {target} {definition(index)}",
        f"-- for each partition p: CREATE INDEX CONCURRENTLY p_{name} ON p {definition(index)}",
        f"-- then for each: ALTER INDEX {quoted(table.schema)}.{quoted(name)} ATTACH PARTITION p_{name}",
    )


def alembic_snippet(table: TableFacts, index: Index, name: str) -> str:
    """The same for a migration."""
    keys = ", ".join(f"sa.text({key_sql(key)!r})" for key in index.keys)
    options = [f"schema={table.schema!r}", f"postgresql_using={index.method!r}"]
    if index.include:
        options.append(f"postgresql_include={list(index.include)!r}")
    where = predicate_sql(index.predicate)
    if where is not None:
        options.append(f"postgresql_where=sa.text({where!r})")
    if not table.is_partitioned:
        options.append("postgresql_concurrently=True")
    call = f"op.create_index({name!r}, {table.name!r}, [{keys}], {', '.join(options)})"
    return f"with op.get_context().autocommit_block():\n    {call}\n"


def size_of(table: TableFacts, index: Index, share: float = 1.0) -> int:
    """Estimated bytes. GIN and GiST are taken for a b-tree of the same column, which they rarely exceed by much."""
    return int(index_pages(table, entry_bytes(table, index), share) * PAGE_BYTES)
