"""Whose rows: fixed column values that every statement of a repository is bound to."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement

from app.core.db._fields import Model, field_of
from app.core.db._query_errors import InvalidFieldValue, UnknownField
from app.core.errors import ConfigurationError


class RowScope:
    """Rows of ``model`` that have these ``values``: ``{"owner_id": caller}``.

    Reads and changes see no others, new rows get the values, and no change leads out of it. Raises ConfigurationError for a field that does
    not exist, and for None: a forgotten tenant must not become a filter that finds something.
    """

    __slots__ = ("_model", "values")

    def __init__(self, model: Model, values: Mapping[str, Any] | None) -> None:
        self._model = model
        self.values: dict[str, Any] = {}
        for name, value in (values or {}).items():
            if value is None:
                raise ConfigurationError(f"The scope of {model.__name__} has no value for {name!r}")
            try:
                self.values[name] = field_of(model, name).value(value)
            except UnknownField as unknown:
                raise ConfigurationError(f"{model.__name__} has no field {name!r} for a scope") from unknown

    def criteria(self) -> list[ColumnElement[bool]]:
        """For WHERE."""
        return [field_of(self._model, name).attribute == value for name, value in self.values.items()]

    def bind(self, values: dict[str, Any]) -> dict[str, Any]:
        """``values`` of a new row, in the scope. Raises InvalidFieldValue for one that says otherwise."""
        self.check(values)
        return {**values, **self.values}

    def check(self, values: Mapping[str, Any]) -> None:
        """Raises InvalidFieldValue when ``values`` would lead out of the scope."""
        for name, value in self.values.items():
            if name in values and field_of(self._model, name).value(values[name]) != value:
                raise InvalidFieldValue(name, "cannot be another one here")

    def has(self, entity: object) -> bool:
        """Whether a loaded row is in the scope."""
        return all(getattr(entity, name) == value for name, value in self.values.items())
