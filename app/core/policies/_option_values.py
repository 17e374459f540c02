"""What an operator wrote, as the type that an option has: text from the environment, or a value of TOML."""

import json
import math
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

_YES, _NO = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
_NONE = frozenset({"none", "null", "off"})


class NotOverridable(ValueError):
    """The option is a function or a class: it can only be written in code."""


def is_off(value: Any) -> bool:
    """Whether this switches a policy off: ``off``, ``none``, ``false``."""
    return value is False or (isinstance(value, str) and value.strip().lower() in {*_NONE, "false"})


def parse(hint: Any, value: Any) -> Any:
    """``value`` as ``hint`` says. Raises ValueError that tells what is allowed, NotOverridable for what no text can say."""
    if get_origin(hint) in {Union, UnionType}:
        return _first_of(get_args(hint), value)
    parser = _PARSERS.get(get_origin(hint) or hint)
    if parser is None:
        raise NotOverridable("is a function or a class and can be changed in code only")
    return parser(hint, value)


def _first_of(hints: tuple[Any, ...], value: Any) -> Any:
    if NoneType in hints and isinstance(value, str) and value.strip().lower() in _NONE:
        return None
    allowed = []
    for hint in hints:
        if hint is NoneType:
            allowed.append("none")
            continue
        try:
            return parse(hint, value)
        except NotOverridable:
            continue
        except ValueError as refusal:
            allowed.append(str(refusal).partition(", not ")[0].removeprefix("must be "))
    if not allowed:
        raise NotOverridable("is a function or a class and can be changed in code only")
    raise ValueError(f"must be {' or '.join(dict.fromkeys(allowed))}, not {value!r}")


def _bool(_: Any, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    if text not in _YES | _NO:
        raise ValueError(f"must be true or false, not {value!r}")
    return text in _YES


def _int(_: Any, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        if isinstance(value, str):
            return int(value)
    except ValueError:
        pass
    raise ValueError(f"must be a whole number, not {value!r}")


def _float(_: Any, value: Any) -> float:
    try:
        number = (
            float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
        )
    except (ValueError, OverflowError):
        number = None
    if number is None or not math.isfinite(number):
        raise ValueError(f"must be a number, not {value!r}")
    return number


def _text(_: Any, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {value!r}")  # noqa: TRY004 - options raise ValueError
    return value


def _word(hint: Any, value: Any) -> Any:
    for word in get_args(hint):
        if str(word) == str(value) and not isinstance(value, bool):
            return word
    raise ValueError(f"must be one of {', '.join(map(str, get_args(hint)))}, not {value!r}")


def _several(hint: Any, value: Any) -> tuple[Any, ...]:
    element = get_args(hint)[0]
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list):
        raise ValueError(f"must be a list, or names with commas between them, not {value!r}")  # noqa: TRY004
    return tuple(parse(element, part) for part in value)


def _by_name(hint: Any, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, Mapping):
        raise ValueError('must be a table, or JSON such as {"default": 100}')  # noqa: TRY004
    return {str(name): parse(get_args(hint)[1], part) for name, part in value.items()}


_PARSERS: dict[Any, Callable[[Any, Any], Any]] = {
    bool: _bool, int: _int, float: _float, str: _text, Literal: _word, tuple: _several, Mapping: _by_name,
}  # fmt: skip
