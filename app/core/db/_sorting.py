"""The order of a list: ``"-created_at,name"`` means the newest first, and by name among equals."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import UnaryExpression

from app.core.db._fields import Model, ModelField, field_of, primary_key_of
from app.core.db._query_errors import InvalidFieldValue, UnknownField

_MOST = 5


@dataclass(frozen=True, slots=True)
class SortKey:
    """One column of an order. As in PostgreSQL a missing value counts as the greatest."""

    field: ModelField
    is_descending: bool = False

    def clause(self) -> UnaryExpression[Any]:
        """For ORDER BY."""
        return self.field.attribute.desc() if self.is_descending else self.field.attribute.asc()

    def __str__(self) -> str:
        return f"-{self.field.name}" if self.is_descending else self.field.name


OrderBy = str | Iterable[str | SortKey] | None
"""``"-created_at,name"``, a list of such names, or what ``parse_sort`` made of them."""


def parse_sort(
    model: Model, order_by: OrderBy, *, allowed: Collection[str] | None = None
) -> tuple[SortKey, ...]:
    """The order that a text or a list of names asks for; a minus in front means descending. At most five columns.

    allowed: the only fields that may be used, None for all. Raises UnknownField, also for columns without an order (JSON, arrays), and
    InvalidFieldValue for a column twice or too many.
    """
    if order_by is None:
        return ()
    names = order_by.split(",") if isinstance(order_by, str) else [str(each) for each in order_by]
    if len(names) > _MOST:
        raise InvalidFieldValue("order_by", f"takes at most {_MOST} fields")
    keys = tuple(_key(model, name.strip(), allowed) for name in names)
    if len({key.field.name for key in keys}) < len(keys):
        raise InvalidFieldValue("order_by", "names a field twice")
    return keys


def total_order(model: Model, keys: tuple[SortKey, ...]) -> tuple[SortKey, ...]:
    """``keys`` and what is missing of the primary key, so that no two rows are equal and pages never overlap.

    The rest goes in the direction of the last key: then one comparison of tuples finds the next page in an index.
    """
    named = {key.field.name for key in keys}
    is_descending = bool(keys) and keys[-1].is_descending
    rest = (field for field in primary_key_of(model) if field.name not in named)
    return (*keys, *(SortKey(field, is_descending) for field in rest))


def _key(model: Model, name: str, allowed: Collection[str] | None) -> SortKey:
    bare = name.removeprefix("-")
    if allowed is not None and bare not in allowed:
        raise UnknownField(bare, allowed)
    field = field_of(model, bare)
    if not field.is_ordered:
        raise UnknownField(bare)
    return SortKey(field, name.startswith("-"))
