"""The keys of an index that keeps rows in the order that is wanted."""

from collections.abc import Sequence

from app.core.monitor.advice._expressions import Column, columns_of
from app.core.monitor.advice._readings import SortKey
from app.core.monitor.advice._tables import TableFacts, bare
from app.core.monitor.advice._ways import Key


def are_of(keys: Sequence[SortKey], alias: str) -> bool:
    """Whether all keys are computed from columns of this table."""
    return all(
        (columns := columns_of(it.expression)) and all(c.alias == alias for c in columns) for it in keys
    )


def order_key(key: SortKey, *, is_turned: bool) -> Key:
    """The index key; ``is_turned``: the index is walked backwards."""
    expression = bare(key.expression)
    if is_turned:
        return Key(expression)
    is_usual = key.nulls_first == key.is_descending
    return Key(expression, None, key.is_descending, None if is_usual else key.nulls_first)


def rows_together(table: TableFacts, keys: Sequence[Key], share: float) -> float:
    """How many of the rows that are found have the same ``keys``."""
    distinct = 1.0
    for key in keys:
        column = table.columns.get(key.expression.name) if isinstance(key.expression, Column) else None
        distinct *= (column.distinct if column is not None else None) or 200.0
    return max(1.0, table.rows * share / distinct)
