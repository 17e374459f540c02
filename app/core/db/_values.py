"""Rows on their way in: mappings or Pydantic models."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from app.core.db._fields import Model, fields_of
from app.core.db._query_errors import UnknownField


class Dumps(Protocol):
    """A Pydantic model, as far as it matters here."""

    def model_dump(self, *, exclude_unset: bool = False) -> dict[str, Any]:
        """Its fields."""
        ...


Data = Mapping[str, Any] | Dumps


def values_of(model: Model, data: Data, *, is_change: bool = False) -> dict[str, Any]:
    """The values by field. For a change only what was set, so that what a caller left out stays.

    Raises UnknownField for anything that is not a column of the model.
    """
    values = dict(data) if isinstance(data, Mapping) else data.model_dump(exclude_unset=is_change)
    if not values.keys() <= (fields := fields_of(model)).keys():
        raise UnknownField(min(str(name) for name in values.keys() - fields.keys()), fields)
    return values


def rows_of(model: Model, data: Iterable[Data], *, is_change: bool = False) -> list[dict[str, Any]]:
    """``values_of`` for many."""
    return [values_of(model, each, is_change=is_change) for each in data]
