"""Filters as frozen values: what is asked for, apart from how SQL says it.

They can be made once and shared, compared, and put into each other: ``AnyOf((Where("role", "RESIDENT"), Search("ann", ("name",))))``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, and_, not_, or_, true

from app.core.db._fields import Model, field_of, fields_of
from app.core.db._operators import compare
from app.core.db._query_errors import InvalidFieldValue, UnknownField, UnknownOperator


class Filter(Protocol):
    """Anything that can say which rows of a model it means."""

    def criterion(self, model: Model) -> ColumnElement[bool]:
        """The WHERE clause. Raises UnknownField, UnknownOperator or InvalidFieldValue."""
        ...


@dataclass(frozen=True, slots=True)
class Where:
    """One comparison; the operators are those of the query strings (``docs/repositories.md``)."""

    field: str
    value: Any
    operator: str = "eq"

    def criterion(self, model: Model) -> ColumnElement[bool]:
        """The comparison as SQL."""
        return compare(field_of(model, self.field), self.operator, self.value)


@dataclass(frozen=True, slots=True)
class Between:
    """From ``lower`` to ``upper``, both included; None leaves a side open."""

    field: str
    lower: Any = None
    upper: Any = None

    def criterion(self, model: Model) -> ColumnElement[bool]:
        """The range as SQL."""
        return compare(field_of(model, self.field), "between", (self.lower, self.upper))


@dataclass(frozen=True, slots=True)
class Search:
    """Rows in which one of the text ``fields`` contains ``text``, whatever its case. A blank text finds all."""

    text: str
    fields: tuple[str, ...]

    def criterion(self, model: Model) -> ColumnElement[bool]:
        """The search as SQL."""
        if not self.fields:
            raise InvalidFieldValue("search", "needs at least one field")
        # The fields are checked for a blank text too: a wrong one must not wait for the first search.
        found = [compare(field_of(model, name), "icontains", self.text) for name in self.fields]
        return or_(*found) if self.text.strip() else true()


@dataclass(frozen=True, slots=True)
class AllOf:
    """Rows that every filter means; all rows when there is none."""

    filters: tuple[Filter, ...]

    def criterion(self, model: Model) -> ColumnElement[bool]:
        """The filters joined by AND."""
        return and_(true(), *(each.criterion(model) for each in self.filters))


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Rows that at least one filter means. Raises InvalidFieldValue when there is none."""

    filters: tuple[Filter, ...]

    def criterion(self, model: Model) -> ColumnElement[bool]:
        """The filters joined by OR."""
        if not self.filters:
            raise InvalidFieldValue("filters", "need at least one to choose from")
        return or_(*(each.criterion(model) for each in self.filters))


@dataclass(frozen=True, slots=True)
class Not:
    """Rows that ``filter`` does not mean, those included for which it cannot be told because a value is missing."""

    filter: Filter

    def criterion(self, model: Model) -> ColumnElement[bool]:
        """The rows for which the filter is not true."""
        return not_(self.filter.criterion(model).is_(true()))


Filters = Mapping[str, Any] | Filter | Iterable[Filter] | None
"""What repositories take: ``{"role": "RESIDENT", "age__gte": 18}``, one filter, several (all must hold), or none."""


def to_filter(model: Model, filters: Filters) -> AllOf:
    """One filter out of whatever form. Raises UnknownField and UnknownOperator for keys that mean nothing."""
    if filters is None:
        return AllOf(())
    if isinstance(filters, Mapping):
        return AllOf(tuple(_where(model, key, value) for key, value in filters.items()))
    if isinstance(filters, Iterable):
        return AllOf(tuple(filters))
    return AllOf((filters,))


def split_key(model: Model, key: str) -> tuple[str, str]:
    """``name__contains`` into field and operator; a bare field is compared by ``eq``."""
    if key in fields_of(model):
        return key, "eq"
    name, separator, operator = key.rpartition("__")
    if not separator or name not in fields_of(model):
        raise UnknownField(key, fields_of(model))
    if not operator:
        raise UnknownOperator(key)
    return name, operator


def _where(model: Model, key: str, value: Any) -> Where:
    name, operator = split_key(model, key)
    return _bare(model, name, value) if key == name else Where(name, value, operator)


def _bare(model: Model, name: str, value: Any) -> Where:
    """What a field without an operator means, by its value."""
    if value is None:
        return Where(name, value=True, operator="is_null")
    if field_of(model, name).is_array:
        return Where(name, value, "has_all" if isinstance(value, list | tuple) else "has")
    if isinstance(value, list | tuple | set | frozenset):
        return Where(name, tuple(value), "in")
    return Where(name, value)
