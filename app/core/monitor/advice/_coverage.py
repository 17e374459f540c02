"""Whether an index that exists serves as well as one that is thought of."""

from collections.abc import Sequence

from app.core.monitor.advice._expressions import Column, Expression
from app.core.monitor.advice._indexes import Index
from app.core.monitor.advice._options import Option
from app.core.monitor.advice._tables import IndexFacts, KeyFacts, TableFacts, bare
from app.core.monitor.advice._ways import Key

_ORDERED_ON_DISK = 0.9


def covering(
    option: Option, index: Index, table: TableFacts, clauses: Sequence[Expression]
) -> IndexFacts | None:
    """An index of the table (valid ones first) with all that ``index`` would have; its predicate must be among the statement's
    ``clauses``.
    """
    conditions = {bare(clause) for clause in clauses}
    for existing in sorted(table.indexes, key=lambda it: not it.is_valid):
        if set(existing.predicate) <= conditions and _serves(existing, option, index, table):
            return existing
    return None


def _serves(existing: IndexFacts, option: Option, index: Index, table: TableFacts) -> bool:
    if existing.method == "hash":
        return len(index.keys) == 1 == option.equals and _same(existing.keys[0], index.keys[0])
    if existing.method == "brin":
        first = index.keys[0].expression
        column = table.columns.get(first.name) if isinstance(first, Column) else None
        return (
            column is not None
            and abs(column.correlation) > _ORDERED_ON_DISK
            and len(index.keys) == 1
            and any(key.expression == first for key in existing.keys)
        )
    if existing.method != index.method:
        return False
    if index.method != "btree":
        return {it.expression for it in index.keys} <= {it.expression for it in existing.keys}
    return _leads(existing, option.equals, index)


def _leads(existing: IndexFacts, equals: int, index: Index) -> bool:
    """The same equalities at the front, in any order, then the same keys; columns carried along anywhere."""
    wanted, there = index.keys, existing.keys[: len(index.keys)]
    if len(there) < len(wanted):
        return False
    if {it.expression for it in wanted[:equals]} != {it.expression for it in there[:equals]}:
        return False
    rest = list(zip(there[equals:], wanted[equals:], strict=True))
    if not all(_same(old, new) for old, new in rest):
        return False
    turned = {old.is_descending != new.is_descending for old, new in rest}
    carried = {it.expression.name for it in existing.keys if isinstance(it.expression, Column)} | set(
        existing.include
    )
    return len(turned) <= 1 and set(index.include) <= carried


def _same(old: KeyFacts, new: Key) -> bool:
    if new.operator_class is not None and new.operator_class != old.operator_class:
        # The pattern classes are one for text and varchar.
        return old.expression == new.expression and {new.operator_class, old.operator_class} <= {
            "text_pattern_ops",
            "varchar_pattern_ops",
        }
    return old.expression == new.expression and (new.operator_class is not None or old.is_default_class)


def replaced_by(index: Index, table: TableFacts) -> tuple[str, ...]:
    """Existing indexes that the new one makes needless: its beginning, guarding nothing, of all rows."""
    if index.method != "btree" or index.predicate:
        return ()
    return tuple(
        it.name
        for it in table.indexes
        if it.method == "btree"
        and it.is_valid
        and not (it.is_unique or it.is_constraint or it.predicate)
        and len(it.keys) <= len(index.keys)
        and set(it.include) <= index.columns
        and all(
            old.expression == new.expression and old.is_descending == new.is_descending and _same(old, new)
            for old, new in zip(it.keys, index.keys, strict=False)
        )
    )
