"""Rows after a position in an order, found by comparing instead of counting: page 10,000 costs what page 1 costs."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, and_, false, literal, or_, true, tuple_

from app.core.db._fields import ModelField
from app.core.db._sorting import SortKey

Position = tuple[Any, ...]
"""The values of a row in the columns of an order."""


def position_of(row: Any, keys: tuple[SortKey, ...]) -> Position:
    """Where ``row`` stands in the order."""
    return tuple(getattr(row, key.field.name) for key in keys)


def is_plain(keys: tuple[SortKey, ...]) -> bool:
    """Whether one comparison of rows finds what comes next: all columns in one direction, and none without a value."""
    return len({key.is_descending for key in keys}) == 1 and not any(key.field.is_nullable for key in keys)


def beyond(keys: tuple[SortKey, ...], values: Iterable[ColumnElement[Any]]) -> ColumnElement[bool]:
    """One comparison of rows, for an order that ``is_plain``; an index on these columns answers it by itself."""
    columns, position = tuple_(*(key.field.attribute for key in keys)), tuple_(*values)
    return columns < position if keys[0].is_descending else columns > position


def after(keys: tuple[SortKey, ...], position: Position) -> ColumnElement[bool]:
    """Rows that come after ``position`` when sorted by ``keys``, which must be a total order."""
    if is_plain(keys):
        columns = zip(keys, position, strict=True)
        return beyond(keys, (_parameter(key.field, value) for key, value in columns))
    pairs = list(zip(keys, position, strict=True))
    ways = [
        and_(*(_same(*pair) for pair in pairs[:depth]), _beyond(*pairs[depth])) for depth in range(len(pairs))
    ]
    # The first column's own bound says nothing new, but it is what an index can use.
    return and_(_not_before(*pairs[0]), or_(*ways))


def _same(key: SortKey, value: Any) -> ColumnElement[bool]:
    at = key.field.attribute
    return at.is_(None) if value is None else at == value


def _parameter(field: ModelField, value: Any) -> ColumnElement[Any]:
    # True and False written down, as SQLAlchemy does otherwise, are not to be compared.
    return literal(value, field.attribute.type)


def _not_before(key: SortKey, value: Any) -> ColumnElement[bool]:
    at, bound = key.field.attribute, _parameter(key.field, value)
    if key.is_descending:
        return true() if value is None else at <= bound
    if value is None:
        return at.is_(None)
    return or_(at >= bound, at.is_(None)) if key.field.is_nullable else at >= bound


def _beyond(key: SortKey, value: Any) -> ColumnElement[bool]:
    """After this value in this column. A missing value is the greatest: last ascending, first descending."""
    at, bound = key.field.attribute, _parameter(key.field, value)
    if key.is_descending:
        return at.is_not(None) if value is None else at < bound
    if value is None:
        return false()
    return or_(at > bound, at.is_(None)) if key.field.is_nullable else at > bound
