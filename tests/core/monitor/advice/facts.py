"""Tables that exist in no database."""

from app.core.monitor.advice._expressions import Column
from app.core.monitor.advice._tables import ColumnFacts, IndexFacts, KeyFacts, TableFacts, predicate_of


def column(name: str, *, distinct: float = 1000.0, correlation: float = 0.0, width: int = 8) -> ColumnFacts:
    return ColumnFacts(
        name=name,
        type="bigint",
        type_oid=20,
        has_btree=True,
        sorts_bytewise=False,
        is_not_null=True,
        distinct=distinct,
        correlation=correlation,
        width=width,
    )


def existing(
    name: str,
    *columns: str,
    method: str = "btree",
    include: tuple[str, ...] = (),
    where: str | None = None,
    is_unique: bool = False,
    is_valid: bool = True,
    descending: bool = False,
) -> IndexFacts:
    keys = tuple(KeyFacts(Column(None, it), "int8_ops", True, descending, descending) for it in columns)
    return IndexFacts(name, method, keys, include, is_unique, is_unique, is_valid, predicate_of(where), 10)


def table(
    *indexes: IndexFacts,
    columns: tuple[ColumnFacts, ...] = (column("a"), column("b"), column("c")),
    rows: float = 1_000_000,
    is_partitioned: bool = False,
    writes_per_day: float | None = None,
) -> TableFacts:
    return TableFacts(
        oid=1,
        schema="public",
        name="orders",
        is_partitioned=is_partitioned,
        is_ordinary=True,
        rows=rows,
        pages=int(rows / 50),
        visible=1.0,
        is_analyzed=True,
        writes_per_day=writes_per_day,
        hot_percent=None,
        is_stale=False,
        columns={it.name: it for it in columns},
        indexes=indexes,
    )
