"""What the catalogs and the statistics say about the tables of a statement."""

from dataclasses import dataclass, field
from functools import cached_property

from app.core.monitor.advice._expressions import Column, Expression, changed, conjuncts
from app.core.monitor.advice._reading import read

PAGE_BYTES = 8192


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """A column and its statistics.

    distinct: number of different values (not PostgreSQL's negative fraction); None: no statistics. correlation: with the physical order.
    width: bytes on average. common: frequencies of the most common values. same_as: types to which a cast changes nothing.
    """

    name: str
    type: str
    type_oid: int
    has_btree: bool
    sorts_bytewise: bool
    is_not_null: bool
    same_as: frozenset[str] = frozenset()
    distinct: float | None = None
    null_fraction: float = 0.0
    correlation: float = 0.0
    width: int = 8
    common: tuple[float, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """One key of an existing index: a column's name, or else an expression."""

    expression: Expression
    operator_class: str
    is_default_class: bool
    is_descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """An existing index of the table, or of the partitioned table."""

    name: str
    method: str
    keys: tuple[KeyFacts, ...]
    include: tuple[str, ...]
    is_unique: bool
    is_constraint: bool
    is_valid: bool
    predicate: tuple[Expression, ...]
    pages: int


@dataclass(frozen=True)
class TableFacts:
    """A table; for a partitioned one, all its partitions together.

    rows, pages: the planner's estimates. visible: share of the pages that an index-only scan need not read. writes_per_day and
    hot_percent: None where the statistics are too young or empty. is_analyzed: whether there are statistics at all; is_stale: whether
    a third of the rows has changed since. listed: the column by whose single values the table is partitioned (LIST).
    """

    oid: int
    schema: str
    name: str
    is_partitioned: bool
    is_ordinary: bool
    rows: float
    pages: int
    visible: float
    is_analyzed: bool
    writes_per_day: float | None
    hot_percent: float | None
    is_stale: bool
    columns: dict[str, ColumnFacts]
    indexes: tuple[IndexFacts, ...]
    listed: str | None = None

    @cached_property
    def title(self) -> str:
        """``schema.name`` as it is shown."""
        return f"{self.schema}.{self.name}"

    @property
    def row_width(self) -> float:
        """Bytes of a row, from the table's size."""
        return max(24.0, self.pages * PAGE_BYTES / max(1.0, self.rows))


def bare(expression: Expression) -> Expression:
    """The expression with columns that name no table, as indexes hold them."""
    return changed(expression, lambda it: Column(None, it.name) if isinstance(it, Column) else None)


def predicate_of(text: str | None) -> tuple[Expression, ...]:
    """The conditions of a partial index."""
    return () if text is None else tuple(bare(part) for part in conjuncts(read(text)))
