"""What a LIKE pattern or a regular expression begins with and contains."""

import re
from dataclasses import dataclass
from typing import Literal

from app.core.monitor.advice._expressions import Cast, Constant, Expression

_LIKE = frozenset({"~~", "~~*"})
_REGULAR = frozenset({"~", "~*"})
_STARTS = "^@"
_MIN_TRIGRAM = 3
_CLASS = re.compile(r"\\.|\[\^?\]?[^\]]*\]")
_OPTIONAL = re.compile(r"\w(?=[*?{])")
_GROUP = re.compile(r"\([^()]*\)[*?]?")
_SIMILAR = re.compile(r"\^\(\?:([^()|]*)\)\$")
"""What the server makes of SIMILAR TO."""
_SPECIAL = re.compile(r"[\\.^$*+?()\[\]{}|]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """exact: no wildcard. prefix: it begins with given characters. inside: it has at least three in a row. open: neither, or not known."""

    kind: Literal["exact", "prefix", "inside", "open"]


def pattern_of(operator: str, right: Expression) -> Pattern | None:
    """The pattern of ``LIKE``, ``ILIKE``, ``~``, ``~*`` and ``^@``; None for other operators."""
    if operator not in _LIKE | _REGULAR | {_STARTS}:
        return None
    while isinstance(right, Cast):
        right = right.of
    if not isinstance(right, Constant) or not right.text.startswith("'"):
        return Pattern("open")
    text = right.text[1:-1].replace("''", "'")
    if operator == _STARTS:
        return Pattern("prefix" if text else "open")
    return Pattern(_like(text, operator) if operator in _LIKE else _regular(text, operator))


def _like(text: str, operator: str) -> Literal["exact", "prefix", "inside", "open"]:
    parts = re.split(r"(?<!\\)[%_]", text)
    has_letters = any(it.isalpha() for it in parts[0])
    if operator == "~~" or (parts[0] and not has_letters):
        if len(parts) == 1:
            return "exact"
        if parts[0]:
            return "prefix"
    return "inside" if _has_trigram(parts) else "open"


def _regular(text: str, operator: str) -> Literal["exact", "prefix", "inside", "open"]:
    text = _SIMILAR.sub(r"^\1$", text)
    begin = _SPECIAL.split(text.removeprefix("^"))[0]
    if text.startswith("^") and begin and "|" not in text and operator == "~":
        return "prefix"
    sure = _OPTIONAL.sub(" ", _CLASS.sub(" ", text))
    outside = _GROUP.sub(" ", sure)
    is_outside = "|" not in outside and _has_trigram(_SPECIAL.split(outside))
    is_in_each = all(_has_trigram(_SPECIAL.split(it)) for it in sure.split("|"))
    return "inside" if is_outside or is_in_each else "open"


def _has_trigram(parts: list[str]) -> bool:
    return any(re.search(rf"\w{{{_MIN_TRIGRAM}}}", it) for it in parts)
