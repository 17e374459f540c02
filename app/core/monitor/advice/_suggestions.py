"""What the advisor answers: indexes with their statements, rewrites, and why there is none."""

import re
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

from app.core.monitor._relations import quoted
from app.core.monitor.advice._cost import index_pages
from app.core.monitor.advice._coverage import replaced_by
from app.core.monitor.advice._expressions import Cast, Column, Constant, Expression, Row, changed
from app.core.monitor.advice._indexes import Index, entry_bytes
from app.core.monitor.advice._rendering import rendered
from app.core.monitor.advice._tables import PAGE_BYTES, TableFacts
from app.core.monitor.advice._ways import Key

Verified = Literal["hypopg", "estimated"]
_MAX_NAME = 60
_PLAIN_ARRAY = re.compile(r"^'\{[A-Za-z0-9_-]+(?:,[A-Za-z0-9_-]+)*\}'$")


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """An index to create. Nobody creates it but an operator.

    cost_before, cost_after: of the statement, in the planner's unit; for a foreign key, of looking for the rows that refer. verified:
    how we
    know: ``hypopg`` asked the planner with a hypothetical index, ``estimated`` computed it from statistics. equals: so many keys at the
    front are compared with one value each, and may stand in any order.
    """

    facts: TableFacts = field(repr=False)
    index: Index
    reason: str
    cost_before: float
    cost_after: float
    verified: Verified
    equals: int = 0
    asked_bytes: int | None = None

    @property
    def schema(self) -> str:
        """Of the table."""
        return self.facts.schema

    @property
    def table(self) -> str:
        """Without its schema."""
        return self.facts.name

    @property
    def name(self) -> str:
        """What the index would be called; no index of the table is called so."""
        return index_name(self.facts, self.index)

    @property
    def method(self) -> str:
        """btree, gin or gist."""
        return self.index.method

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys as SQL, names quoted, with operator class and direction where they are not the usual ones."""
        return tuple(map(key_sql, self.index.keys))

    @property
    def include(self) -> tuple[str, ...]:
        """Columns carried along."""
        return self.index.include

    @property
    def predicate(self) -> str | None:
        """Of a partial index, as SQL; no values but those that are part of the schema."""
        return predicate_sql(self.index.predicate)

    @property
    def ddl(self) -> tuple[str, ...]:
        """Statements in their order; CONCURRENTLY may not run inside a transaction."""
        return statements(self.facts, self.index, self.name)

    @property
    def alembic(self) -> str:
        """The same for a migration."""
        return alembic_snippet(self.facts, self.index, self.name)

    @property
    def size_bytes(self) -> int:
        """Estimated; of a partial index at most."""
        return self.asked_bytes or int(
            index_pages(self.facts, entry_bytes(self.facts, self.index)) * PAGE_BYTES
        )

    @property
    def writes_per_day(self) -> float | None:
        """Of the table; each has to maintain the index. None where the statistics do not tell."""
        return self.facts.writes_per_day

    @property
    def hot_percent(self) -> float | None:
        """Share of the table's updates that touch no index now. Those that change a column of the index no longer do."""
        return self.facts.hot_percent

    @property
    def replaces(self) -> tuple[str, ...]:
        """Indexes that become needless."""
        return replaced_by(self.index, self.facts)

    @property
    def needs_extension(self) -> str | None:
        """To be created before."""
        return self.index.extension

    @property
    def gain(self) -> float:
        """How many times cheaper, in the planner's unit."""
        return round(self.cost_before / max(0.01, self.cost_after), 1)


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
    """A name that says the table and the columns, of at most 60 bytes; with a mark where that is not enough to tell it from others."""
    words = [it.expression.name if isinstance(it.expression, Column) else "expr" for it in index.keys]
    name = "_".join(("ix", table.name, *words))
    is_plain = all(isinstance(it.expression, Column) for it in index.keys) and not index.predicate
    is_free = all(it.name != name for it in table.indexes)
    if is_plain and is_free and len(name.encode()) <= _MAX_NAME:
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
