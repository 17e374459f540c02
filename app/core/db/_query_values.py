"""Results of queries as JSON and back, with their Python types."""

import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import Row, inspect
from sqlalchemy.engine import result_tuple
from sqlalchemy.orm import Mapper, make_transient_to_detached
from sqlalchemy.orm.attributes import instance_dict, instance_state

_BIGGEST = 2**63
_TEXTS: dict[type, tuple[str, Callable[[Any], str], Callable[[str], Any]]] = {
    UUID: ("uuid", str, UUID),
    datetime: ("datetime", datetime.isoformat, datetime.fromisoformat),
    date: ("date", date.isoformat, date.fromisoformat),
    time: ("time", time.isoformat, time.fromisoformat),
    Decimal: ("decimal", str, Decimal),
    bytes: ("bytes", bytes.hex, bytes.fromhex),
    float: ("float", repr, float),
    int: ("int", str, int),
}
_READERS = {tag: read for tag, _, read in _TEXTS.values()}


def pack(value: Any) -> Any:
    """``value`` as JSON data that ``unpack`` makes equal again, type by type.

    Takes None, texts, numbers, dates and times, UUIDs, bytes, enums, lists, tuples, sets, dicts, rows, and mapped
    objects with the columns that they have loaded. Raises TypeError for anything else, and for what is too deep.
    """
    try:
        return _pack(value)
    except RecursionError:
        raise TypeError("a value of too many levels cannot be kept") from None


def _pack(value: Any) -> Any:
    kind: type = UUID if isinstance(value, UUID) else type(value)  # the driver has a kind of its own
    if value is None or kind in (bool, str):
        return value
    if kind is int and -_BIGGEST <= value < _BIGGEST:
        return value
    if kind is float and value - value == 0:  # finite
        return value
    if kind in _TEXTS:
        tag, write, _ = _TEXTS[kind]
        return {tag: write(value)}
    if kind is list:
        return [_pack(one) for one in value]
    return _pack_other(value)


def _pack_other(value: Any) -> dict[str, Any]:
    match value:
        case timedelta():
            return {"timedelta": [value.days, value.seconds, value.microseconds]}
        case dict():
            return {"dict": [[_pack(key), _pack(one)] for key, one in value.items()]}
        case Row():
            return {"row": [list(value._fields), [_pack(one) for one in value]]}
        case Enum():
            return {"enum": [*_name(type(value)), value.name]}
    if type(value) in (tuple, set, frozenset):
        return {type(value).__name__: [_pack(one) for one in value]}
    return _pack_entity(value)


def _pack_entity(value: Any) -> dict[str, Any]:
    state = inspect(value, raiseerr=False)
    mapper = getattr(state, "mapper", None)
    if not isinstance(mapper, Mapper) or mapper is state:
        raise TypeError(f"a {type(value).__name__} cannot be kept")
    columns = (attribute.key for attribute in mapper.column_attrs)
    loaded = {key: _pack(state.dict[key]) for key in columns if key in state.dict}
    return {"entity": [*_name(type(value)), loaded]}


def _name(kind: type) -> tuple[str, str]:
    if "<locals>" in kind.__qualname__:
        raise TypeError(f"{kind.__qualname__} cannot be found again")
    return kind.__module__, kind.__qualname__


def unpack(packed: Any) -> Any:
    """What was packed; mapped objects come back detached, without relationships. Raises ValueError for what ``pack`` has not made."""
    try:
        return _unpack(packed)
    except (TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError("no value of a query") from error


def _unpack(packed: Any) -> Any:
    if isinstance(packed, list):
        return [_unpack(one) for one in packed]
    if not isinstance(packed, dict):
        return packed
    ((tag, held),) = packed.items()
    read = _READERS.get(tag) or _BUILDERS.get(tag)
    if read is None:
        raise ValueError(f"no value of a query: {tag}")
    return read(held)


def _class(module: str, name: str) -> Any:
    """Only what is already imported: a stored name must not load code."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _enum(held: list[str]) -> Any:
    kind = _class(held[0], held[1])
    if not (isinstance(kind, type) and issubclass(kind, Enum)) or held[2] not in kind.__members__:
        raise ValueError("an enum that is not there any more")
    return kind[held[2]]


def _entity(held: list[Any]) -> Any:
    module, name, values = held
    mapper = inspect(_class(module, name), raiseerr=False)
    if not isinstance(mapper, Mapper) or not values.keys() <= (known := _columns(mapper)).names:
        raise ValueError("a mapped class that is not there any more, or has other columns")
    entity = mapper.class_manager.new_instance()
    # Columns are plain values of a new object: nobody watches them yet.
    state, loaded = instance_state(entity), instance_dict(entity)
    for key, one in values.items():
        loaded[key] = _unpack(one) if isinstance(one, dict | list) else one
    if len(values) == len(known.names):
        state.key = mapper.identity_key_from_primary_key(tuple(loaded[key] for key in known.identity))
    else:
        make_transient_to_detached(entity)  # reading what was not loaded is an error then, and not None
    return entity


class _Columns(NamedTuple):
    names: frozenset[str]
    identity: tuple[str, ...]


@lru_cache(maxsize=1024)
def _columns(mapper: Mapper[Any]) -> _Columns:
    identity = tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)
    return _Columns(frozenset(mapper.column_attrs.keys()), identity)


_BUILDERS: dict[str, Callable[[Any], Any]] = {
    "timedelta": lambda held: timedelta(*held),
    "dict": lambda held: {_unpack(key): _unpack(one) for key, one in held},
    "tuple": lambda held: tuple(map(_unpack, held)),
    "set": lambda held: set(map(_unpack, held)),
    "frozenset": lambda held: frozenset(map(_unpack, held)),
    "row": lambda held: cast("Any", result_tuple(held[0]))(map(_unpack, held[1])),
    "enum": _enum,
    "entity": _entity,
}
