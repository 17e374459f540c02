"""The SELECTs of a repository: every one begins with its scope and ends with its loading rules."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, func, select
from sqlalchemy.orm import DeclarativeBase

from app.core.db._fields import Model, ModelField, field_of, primary_key_of
from app.core.db._filters import Filters, to_filter
from app.core.db._keyset import Position, beyond
from app.core.db._loading import LazyLoading, load_options
from app.core.db._query_errors import InvalidFieldValue
from app.core.db._scope import RowScope
from app.core.db._sorting import OrderBy, SortKey, parse_sort, total_order

ModelT = TypeVar("ModelT", bound=DeclarativeBase)


@dataclass(frozen=True, slots=True)
class RowLock:
    """SELECT ... FOR UPDATE until the transaction ends.

    ``skip_locked``: leave out rows that somebody else holds. ``nowait``: DatabaseTimeout at once instead of waiting. Raises
    InvalidFieldValue for both.
    """

    skip_locked: bool = False
    nowait: bool = False

    def __post_init__(self) -> None:
        if self.skip_locked and self.nowait:
            raise InvalidFieldValue("skip_locked", "and nowait exclude each other")


class Statements(Generic[ModelT]):
    """Builds the statements for ``model`` within ``scope``."""

    __slots__ = ("_lazy", "_model", "_scope")

    def __init__(self, model: type[ModelT], scope: RowScope, lazy: LazyLoading) -> None:
        self._model = model
        self._scope = scope
        self._lazy = lazy

    def order(self, order_by: OrderBy) -> tuple[SortKey, ...]:
        """A total order. Raises UnknownField."""
        return total_order(self._model, parse_sort(self._model, order_by))

    def one(self, identity: Any) -> tuple[Select[ModelT], dict[str, Any]]:
        """The row of this primary key, and the statement's parameters."""
        values = identity_of(self._model, identity) | self._scope_values()
        return _one(self._model, tuple(self._scope.values), self._lazy), values

    def page(
        self, order: tuple[SortKey, ...], skip: int, limit: int
    ) -> tuple[Select[ModelT], dict[str, Any]]:
        """``limit`` rows after the first ``skip``, and the statement's parameters."""
        values = {"page_skip": skip, "page_limit": limit} | self._scope_values()
        return _page(self._model, tuple(self._scope.values), order, self._lazy), values

    def following(
        self, order: tuple[SortKey, ...], position: Position | None, limit: int
    ) -> tuple[Select[ModelT], dict[str, Any]]:
        """``limit`` rows after a position in an order that ``is_plain``, or the first ones, and the statement's parameters."""
        values = {"page_limit": limit} | self._scope_values()
        if position is not None:
            values |= {f"after_{key.field.name}": at for key, at in zip(order, position, strict=True)}
        is_first = position is None
        return _following(self._model, tuple(self._scope.values), order, self._lazy, is_first), values

    def _scope_values(self) -> dict[str, Any]:
        return {f"scope_{name}": value for name, value in self._scope.values.items()}

    def rows(
        self,
        filters: Filters = None,
        *criteria: ColumnElement[bool],
        order: tuple[SortKey, ...] = (),
        load: Iterable[str] = (),
        only: Iterable[str] | None = None,
        lock: RowLock | None = None,
    ) -> Select[ModelT]:
        """All rows that fit."""
        load = tuple(load)
        if load or only is not None:
            options = load_options(self._model, load, only=only, lazy=self._lazy)
            statement = select(self._model).options(*options)
        else:
            statement = _every(self._model, self._lazy)
        statement = statement.where(*self.criteria(filters), *criteria)
        if order:
            statement = statement.order_by(*(key.clause() for key in order))
        if lock is not None:
            statement = locked(statement, self._model, lock)
        return statement

    def criteria(self, filters: Filters) -> list[ColumnElement[bool]]:
        """Scope and filters, for any statement on the model."""
        wanted = to_filter(self._model, filters).filters
        return [*self._scope.criteria(), *(each.criterion(self._model) for each in wanted)]

    def count(self, filters: Filters) -> Select[int]:
        """How many rows fit."""
        return select(func.count()).select_from(self._model).where(*self.criteria(filters))

    def exists(self, filters: Filters) -> Select[bool]:
        """Whether any row fits."""
        return select(select(self._model).where(*self.criteria(filters)).exists())


def locked(statement: Select[ModelT], model: type[ModelT], lock: RowLock) -> Select[ModelT]:
    """``statement`` with a lock on the model's rows; objects that were loaded before are read again, as they are now."""
    return statement.with_for_update(
        of=model, skip_locked=lock.skip_locked, nowait=lock.nowait
    ).execution_options(populate_existing=True)


def identity_of(model: Model, identity: Any) -> dict[str, Any]:
    """The primary key's values under the names of the parameters ``pk_<field>``.

    A key of several columns is a sequence in their order or a mapping. Raises InvalidFieldValue.
    """
    fields = primary_key_of(model)
    if len(fields) == 1 and not isinstance(identity, Mapping):
        return {f"pk_{fields[0].name}": _present(model, fields[0].name, identity)}
    if isinstance(identity, Mapping):
        parts = [identity.get(field.name) for field in fields]
    else:
        parts = list(identity) if isinstance(identity, Sequence) and not isinstance(identity, str) else []
    if len(parts) != len(fields):
        raise InvalidFieldValue(fields[0].name, f"is one of {len(fields)} parts of a key")
    return {
        f"pk_{field.name}": _present(model, field.name, part)
        for field, part in zip(fields, parts, strict=True)
    }


def _present(model: Model, name: str, value: Any) -> Any:
    if value is None:
        raise InvalidFieldValue(name, "is missing")
    return field_of(model, name).value(value)


def _scoped(model: Model, names: tuple[str, ...]) -> list[ColumnElement[bool]]:
    return [_equals(field_of(model, name), f"scope_{name}") for name in names]


def _equals(field: ModelField, parameter: str) -> ColumnElement[bool]:
    return field.attribute == bindparam(parameter, type_=field.attribute.type)


@lru_cache(maxsize=1024)
def _every(model: type[ModelT], lazy: LazyLoading) -> Select[ModelT]:
    return select(model).options(*load_options(model, lazy=lazy))


# The statements that requests ask most are built once, and SQLAlchemy knows them again at once.
@lru_cache(maxsize=1024)
def _one(model: type[ModelT], scoped: tuple[str, ...], lazy: LazyLoading) -> Select[ModelT]:
    same = [_equals(field, f"pk_{field.name}") for field in primary_key_of(model)]
    return _every(model, lazy).where(*same, *_scoped(model, scoped))


@lru_cache(maxsize=1024)
def _page(
    model: type[ModelT], scoped: tuple[str, ...], order: tuple[SortKey, ...], lazy: LazyLoading
) -> Select[ModelT]:
    statement = _following(model, scoped, order, lazy, is_first=True)
    return statement.offset(bindparam("page_skip", type_=BigInteger()))


@lru_cache(maxsize=1024)
def _following(
    model: type[ModelT],
    scoped: tuple[str, ...],
    order: tuple[SortKey, ...],
    lazy: LazyLoading,
    is_first: bool,
) -> Select[ModelT]:
    statement = _every(model, lazy).where(*_scoped(model, scoped)).order_by(*(key.clause() for key in order))
    if not is_first:
        fields = (key.field for key in order)
        values = (bindparam(f"after_{field.name}", type_=field.attribute.type) for field in fields)
        statement = statement.where(beyond(order, values))
    return statement.limit(bindparam("page_limit", type_=BigInteger()))
