"""Filters out of query strings: ``?name__contains=ann&created_at__gte=2026-01-01T00:00:00Z``.

Only what is on the list is understood, so that nobody asks for a column that is not his business or a comparison without an index.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from app.core.db._fields import Model, ModelField, field_of
from app.core.db._filters import Where
from app.core.db._operators import OPERATORS, operators_for
from app.core.db._query_errors import InvalidFieldValue, InvalidLimit, UnknownField, UnknownOperator
from app.core.errors import ConfigurationError

_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_MAX_VALUES = 100


class FilterGrammar:
    """What callers may ask of a model.

    allowed: operators for each field, ``{"name": ("eq", "contains"), "created_at": None}``; None means all that fit the field. A bare
        ``?name=`` means ``eq``: where that is not allowed, callers must write the operator.
    ignore: parameters that are not filters, such as ``limit`` and ``cursor``.
    max_filters: how many comparisons one question may hold, 1 or more. max_length: characters of one value, 1 or more.

    Raises ConfigurationError for fields and operators that do not exist, and for limits under 1. Immutable: make it once, at import.
    """

    __slots__ = ("_allowed", "_fields", "_ignore", "_max_filters", "_max_length")

    def __init__(
        self,
        model: Model,
        allowed: Mapping[str, Collection[str] | None],
        *,
        ignore: Collection[str] = ("limit", "cursor", "page", "order_by"),
        max_filters: int = 20,
        max_length: int = 1000,
    ) -> None:
        if max_filters < 1 or max_length < 1:
            raise ConfigurationError("FilterGrammar needs max_filters and max_length of 1 or more")
        try:
            self._fields = {name: field_of(model, name) for name in allowed}
        except UnknownField as unknown:
            raise ConfigurationError(
                f"{model.__name__} has no field {unknown.name!r} to filter by"
            ) from unknown
        self._allowed = {name: _operators(self._fields[name], given) for name, given in allowed.items()}
        self._ignore = frozenset(ignore)
        self._max_filters = max_filters
        self._max_length = max_length

    def parse(self, parameters: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[Where, ...]:
        """The filters that the parameters ask for; all must hold. ``request.query_params.multi_items()`` keeps repeated ones.

        Raises UnknownField, UnknownOperator, InvalidFieldValue, and InvalidLimit for too many.
        """
        items = parameters.items() if isinstance(parameters, Mapping) else parameters
        wanted = [(key, text) for key, text in items if key not in self._ignore]
        if len(wanted) > self._max_filters:
            raise InvalidLimit("filters", f"are at most {self._max_filters} at once")
        return tuple(self._one(key, text) for key, text in wanted)

    def _one(self, key: str, text: str) -> Where:
        field, operator = self._split(key)
        if len(text) > self._max_length:
            raise InvalidFieldValue(key, f"is at most {self._max_length} characters long")
        try:
            return Where(field.name, _value(field, operator, text), operator)
        except InvalidFieldValue as refusal:
            # Under the name that the caller wrote, operator included.
            raise InvalidFieldValue(key, refusal.message) from None

    def _split(self, key: str) -> tuple[ModelField, str]:
        name, operator = key, "eq"
        if key not in self._fields and "__" in key:
            name, _, operator = key.rpartition("__")
        if name not in self._fields:
            raise UnknownField(key, self._fields)
        if operator not in self._allowed[name]:
            raise UnknownOperator(key, self._allowed[name])
        return self._fields[name], operator


def _operators(field: ModelField, given: Collection[str] | None) -> frozenset[str]:
    fitting = operators_for(field)
    if given is None:
        return fitting
    if isinstance(given, str) or not given or not fitting.issuperset(given):
        choices = ", ".join(sorted(fitting))
        raise ConfigurationError(f"Operators of {field.name!r} are a non-empty list out of: {choices}")
    return frozenset(given)


def _value(field: ModelField, operator: str, text: str) -> Any:
    shape = OPERATORS[operator].shape
    if shape == "one":
        return field.parse(text)
    if shape == "flag":
        if text.lower() not in _FLAGS:
            raise InvalidFieldValue(field.name, "takes true or false")
        return _FLAGS[text.lower()]
    parts = text.split(",")
    if shape == "pair":
        if len(parts) != 2:
            raise InvalidFieldValue(field.name, "takes two values with a comma between; either may be empty")
        return tuple(field.parse(part) if part else None for part in parts)
    if len(parts) > _MAX_VALUES:
        raise InvalidFieldValue(field.name, f"takes at most {_MAX_VALUES} values")
    return tuple(field.parse(part) for part in parts)
