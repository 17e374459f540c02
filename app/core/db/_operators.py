"""How a field can be compared: the operators, by the names that filters and query strings use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, all_, any_, false, literal, true
from sqlalchemy.dialects.postgresql import ARRAY, array
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql import ClauseElement

from app.core.db._fields import ModelField
from app.core.db._query_errors import InvalidFieldValue, UnknownOperator
from app.core.db._uncut import uncut

Shape = Literal["one", "many", "pair", "flag"]
_Build = Callable[[InstrumentedAttribute[Any], Any], ColumnElement[bool]]
_ESCAPE = "\\"


@dataclass(frozen=True, slots=True)
class Operator:
    """``shape`` of the right side: one value, many, a pair, or true/false."""

    build: _Build
    fits: Callable[[ModelField], bool]
    shape: Shape = "one"


def escape_like(text: str) -> str:
    """``text`` for a LIKE pattern, where it means itself: ``%``, ``_`` and the backslash lose their meaning."""
    for character in (_ESCAPE, "%", "_"):
        text = text.replace(character, _ESCAPE + character)
    return text


def _like(before: str, after: str) -> _Build:
    return lambda at, text: at.like(f"{before}{escape_like(text)}{after}", escape=_ESCAPE)


def _ilike(before: str, after: str) -> _Build:
    return lambda at, text: at.ilike(f"{before}{escape_like(text)}{after}", escape=_ESCAPE)


def _equal(at: InstrumentedAttribute[Any], value: Any) -> ColumnElement[bool]:
    return at.is_(None) if value is None else at == _exact(at, value)


def _unequal(at: InstrumentedAttribute[Any], value: Any) -> ColumnElement[bool]:
    # IS DISTINCT FROM: a row without a value is not the one that was named either.
    return at.is_distinct_from(_exact(at, value))


def _exact(at: InstrumentedAttribute[Any], value: Any) -> Any:
    # True, False and None are written down, so that an index on some of the rows can be used.
    return value if value is None or isinstance(value, bool) else _bound(at, value)


def _bound(at: InstrumentedAttribute[Any], value: Any) -> Any:
    # A parameter, because SQLAlchemy writes true and false down and then refuses to say < about them.
    return value if isinstance(value, ClauseElement) else literal(value, uncut(at.type))


def _between(at: InstrumentedAttribute[Any], pair: Any) -> ColumnElement[bool]:
    lower, upper = pair
    above = true() if lower is None else at >= _bound(at, lower)
    return above if upper is None else above & (at <= _bound(at, upper))


def _among(at: InstrumentedAttribute[Any], values: Any) -> ColumnElement[bool]:
    return at == any_(_all_of(at, values)) if values else false()


def _not_among(at: InstrumentedAttribute[Any], values: Any) -> ColumnElement[bool]:
    return (at != all_(_all_of(at, values))) | at.is_(None) if values else true()


def _all_of(at: InstrumentedAttribute[Any], values: Any) -> ColumnElement[Any]:
    # One parameter for however many values there are: PostgreSQL takes 32,767, and each count would be another statement to it.
    if any(isinstance(value, ClauseElement) for value in values):
        return array([_bound(at, value) for value in values])
    return literal(list(values), ARRAY(uncut(at.type)))


def _any(_field: ModelField) -> bool:
    return True


def _scalar(field: ModelField) -> bool:
    return not field.is_array and field.adapter is not None


def _ordered(field: ModelField) -> bool:
    return field.is_ordered


def _text(field: ModelField) -> bool:
    return field.is_text


def _array(field: ModelField) -> bool:
    return field.is_array


OPERATORS: Mapping[str, Operator] = {
    "eq": Operator(_equal, _scalar),
    "ne": Operator(_unequal, _scalar),
    "gt": Operator(lambda at, value: at > _bound(at, value), _ordered),
    "gte": Operator(lambda at, value: at >= _bound(at, value), _ordered),
    "lt": Operator(lambda at, value: at < _bound(at, value), _ordered),
    "lte": Operator(lambda at, value: at <= _bound(at, value), _ordered),
    "between": Operator(_between, _ordered, "pair"),
    "in": Operator(_among, _scalar, "many"),
    "not_in": Operator(_not_among, _scalar, "many"),
    "is_null": Operator(lambda at, flag: at.is_(None) if flag else at.is_not(None), _any, "flag"),
    "contains": Operator(_like("%", "%"), _text),
    "icontains": Operator(_ilike("%", "%"), _text),
    "startswith": Operator(_like("", "%"), _text),
    "istartswith": Operator(_ilike("", "%"), _text),
    "endswith": Operator(_like("%", ""), _text),
    "iendswith": Operator(_ilike("%", ""), _text),
    "iexact": Operator(_ilike("", ""), _text),
    "has": Operator(lambda at, value: at.contains(_bound(at, [value])), _array),
    "has_any": Operator(lambda at, values: at.overlap(_bound(at, list(values))), _array, "many"),
    "has_all": Operator(lambda at, values: at.contains(_bound(at, list(values))), _array, "many"),
}


def operators_for(field: ModelField) -> frozenset[str]:
    """The operators that make sense for this field."""
    return frozenset(name for name, operator in OPERATORS.items() if operator.fits(field))


def compare(field: ModelField, operator: str, value: Any) -> ColumnElement[bool]:
    """``field`` compared with ``value``. Raises UnknownOperator and InvalidFieldValue."""
    found = OPERATORS.get(operator)
    if found is None or not found.fits(field):
        raise UnknownOperator(f"{field.name}__{operator}", operators_for(field))
    return found.build(field.attribute, _right_side(field, operator, found.shape, value))


def _right_side(field: ModelField, operator: str, shape: Shape, value: Any) -> Any:
    if shape == "flag":
        if not isinstance(value, bool):
            raise InvalidFieldValue(f"{field.name}__{operator}", "takes true or false")
        return value
    if shape == "one":
        if value is None and operator not in {"eq", "ne"}:
            raise InvalidFieldValue(f"{field.name}__{operator}", "needs a value")
        return field.value(value)
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise InvalidFieldValue(f"{field.name}__{operator}", "takes several values")
    values = [field.value(part) for part in value]
    if shape == "pair" and len(values) != 2:
        raise InvalidFieldValue(f"{field.name}__{operator}", "takes two values")
    if shape == "many" and any(value is None for value in values):
        raise InvalidFieldValue(f"{field.name}__{operator}", "has no place for a missing value; use is_null")
    return values
