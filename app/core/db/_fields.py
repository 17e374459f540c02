"""A model's columns by name: what may be compared, sorted by, and how their values are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, NaiveDatetime, TypeAdapter, ValidationError
from sqlalchemy import inspect, types
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Mapper
from sqlalchemy.sql import ClauseElement

from app.core.db._query_errors import InvalidFieldValue, UnknownField

Model = type[DeclarativeBase]
_INTEGERS = ((types.SmallInteger, 15), (types.BigInteger, 63), (types.Integer, 31))
_PLAIN: tuple[tuple[type[types.TypeEngine[Any]], Any], ...] = (
    (types.Boolean, bool),
    (types.Uuid, UUID),
    (types.Date, date),
    (types.Time, time),
    (types.Interval, timedelta),
    (types.Float, float),
    (types.Numeric, Annotated[Decimal, Field(allow_inf_nan=True)]),
)


def _storable(text: str) -> str:
    """PostgreSQL stores neither U+0000 nor half of a pair of surrogates."""
    if "\0" in text:
        raise ValueError("must not contain the NUL character")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain unpaired surrogates")
    return text


def _infinite(moment: datetime) -> datetime:
    """The driver says ``infinity`` of a column with zones as the last (first) moment there is, without a zone, and understands it so."""
    if moment not in (datetime.max, datetime.min):  # noqa: DTZ901 - the driver's, which have none
        raise ValueError("should have timezone info")
    return moment


_TEXT = Annotated[str, AfterValidator(_storable)]
_MOMENT = AwareDatetime | Annotated[NaiveDatetime, AfterValidator(_infinite)]


@dataclass(frozen=True, slots=True, eq=False)
class ModelField:
    """One column attribute of a model.

    ``adapter`` reads its values (for an array those of its elements), None when nothing is known about the type. ``is_ordered``: values
    can be compared with ``<``.
    """

    name: str
    attribute: InstrumentedAttribute[Any]
    adapter: TypeAdapter[Any] | None
    is_nullable: bool
    is_text: bool
    is_array: bool
    is_ordered: bool

    def value(self, value: Any) -> Any:
        """``value`` as the column takes it. SQL expressions and None pass.

        Raises InvalidFieldValue, for example for a time without a zone where the column has one.
        """
        if value is None or self.adapter is None or isinstance(value, ClauseElement):
            return value
        return self._read(self.adapter.validate_python, value)

    def parse(self, text: str) -> Any:
        """The value that a query string means. Raises InvalidFieldValue."""
        if self.adapter is None:
            raise InvalidFieldValue(self.name, "cannot be written as text")
        return self._read(self.adapter.validate_strings, text)

    def _read(self, read: Callable[[Any], Any], value: Any) -> Any:
        try:
            return read(value)
        except ValidationError as refusal:
            # The first message says what was expected; pydantic's own texts do not quote the value.
            message = refusal.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
            raise InvalidFieldValue(self.name, f"has a value that does not fit: {message}") from None


def mapper_of(model: Model) -> Mapper[Any]:
    """The model's mapper. Raises SQLAlchemy's NoInspectionAvailable for a class that is no model."""
    mapper: Mapper[Any] = inspect(model)
    return mapper


@cache
def fields_of(model: Model) -> Mapping[str, ModelField]:
    """All columns of a model under the names of their attributes."""
    return {
        attribute.key: _field(model, attribute.key)
        for attribute in mapper_of(model).column_attrs
        if hasattr(attribute.columns[0], "nullable")
    }


def field_of(model: Model, name: str) -> ModelField:
    """The field of this name. Raises UnknownField."""
    fields = fields_of(model)
    if name not in fields:
        raise UnknownField(name, fields)
    return fields[name]


@cache
def primary_key_of(model: Model) -> tuple[ModelField, ...]:
    """The fields that identify a row, in the order of the primary key."""
    mapper = mapper_of(model)
    return tuple(fields_of(model)[mapper.get_property_by_column(column).key] for column in mapper.primary_key)


def _field(model: Model, name: str) -> ModelField:
    attribute: InstrumentedAttribute[Any] = getattr(model, name)
    column = mapper_of(model).column_attrs[name].columns[0]
    kind = column.type
    is_array = isinstance(kind, ARRAY)
    element = kind.item_type if isinstance(kind, ARRAY) else kind
    adapter = _adapter(_python(element))
    is_text = not is_array and isinstance(kind, types.String) and not isinstance(kind, types.Enum)
    return ModelField(
        name, attribute, adapter, bool(getattr(column, "nullable", True)), is_text, is_array,
        is_ordered=adapter is not None and not is_array,
    )  # fmt: skip


def _python(kind: types.TypeEngine[Any]) -> Any:
    """The type that the column's values have outside, with its bounds; None for JSON, bytes and types of others."""
    if isinstance(kind, types.Enum):
        return kind.enum_class or Literal[tuple(kind.enums)]
    if isinstance(kind, types.DateTime):
        return _MOMENT if kind.timezone else NaiveDatetime
    for integer, bits in _INTEGERS:
        if isinstance(kind, integer):
            return Annotated[int, Field(ge=-(2**bits), lt=2**bits)]
    if isinstance(kind, types.String):
        return _TEXT
    return next((python for known, python in _PLAIN if isinstance(kind, known)), None)


@cache
def _adapter(python: Any) -> TypeAdapter[Any] | None:
    return None if python is None else TypeAdapter(python)


def as_json(field: ModelField, value: Any) -> Any:
    """``value`` as JSON holds it, so that ``field.value`` of it is ``value`` again, to the last digit."""
    if isinstance(value, float):
        return repr(value)  # JSON has no infinity
    return value if field.adapter is None else field.adapter.dump_python(value, mode="json")
