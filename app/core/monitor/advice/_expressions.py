"""Conditions as the server prints them in a plan, as a tree.

What was not understood is ``Opaque``: no advice is built on it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table in the statement; ``alias`` None where the server printed none."""

    alias: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal, as printed: ``'x'`` or ``17``."""

    text: str


@dataclass(frozen=True, slots=True)
class Given:
    """A value that is only known when the statement runs: a parameter, or the result of another part of the plan."""

    text: str


@dataclass(frozen=True, slots=True)
class Cast:
    """``of::type``."""

    of: "Expression"
    type: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function; ``name`` may carry its schema. ``form`` keeps the words of calls with a grammar of their own (EXTRACT, AT TIME ZONE)."""

    name: str
    arguments: tuple["Expression", ...]
    form: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator with one side (``left`` None) or two."""

    operator: str
    left: "Expression | None"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class OfArray:
    """``left operator ANY (array)``, or ALL."""

    operator: str
    left: "Expression"
    array: "Expression"
    is_all: bool = False


@dataclass(frozen=True, slots=True)
class Both:
    """All of them: AND."""

    parts: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of them: OR."""

    parts: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """NOT."""

    of: "Expression"


@dataclass(frozen=True, slots=True)
class IsTest:
    """``of IS <what>``: NULL, NOT NULL, TRUE, NOT TRUE, FALSE, UNKNOWN and so on."""

    of: "Expression"
    what: str


@dataclass(frozen=True, slots=True)
class Row:
    """``ROW(a, b)`` and ``ARRAY[a, b]``; ``word`` says which."""

    word: str
    parts: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Collated:
    """``of COLLATE name``."""

    of: "Expression"
    name: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """What was not understood, with the columns that can be seen in it."""

    text: str
    columns: tuple[Column, ...] = ()


Expression: TypeAlias = (
    Column
    | Constant
    | Given
    | Cast
    | Call
    | Operation
    | OfArray
    | Both
    | Either
    | Negation
    | IsTest
    | Row
    | Collated
    | Opaque
)


def parts_of(expression: Expression) -> tuple[Expression, ...]:
    """What stands directly below."""
    found: list[Expression] = []
    for field in fields(expression):
        value: Any = getattr(expression, field.name)
        found += (
            value if isinstance(value, tuple) else [] if isinstance(value, str | bool | None) else [value]
        )
    return tuple(found)


def walk(expression: Expression) -> Iterator[Expression]:
    """The expression and all below."""
    yield expression
    for part in parts_of(expression):
        yield from walk(part)


def columns_of(expression: Expression) -> tuple[Column, ...]:
    """The columns in it, each once, in the order in which they stand."""
    return tuple(dict.fromkeys(it for it in walk(expression) if isinstance(it, Column)))


def is_understood(expression: Expression) -> bool:
    """Whether nothing in it is ``Opaque``."""
    return not any(isinstance(it, Opaque) for it in walk(expression))


def conjuncts(expression: Expression) -> tuple[Expression, ...]:
    """The conditions that must all hold."""
    if isinstance(expression, Both):
        return tuple(it for part in expression.parts for it in conjuncts(part))
    return (expression,)


def changed(expression: Expression, change: Callable[[Expression], Expression | None]) -> Expression:
    """A copy in which ``change`` has replaced what it did not answer with None; what it replaced is not entered."""
    replaced = change(expression)
    if replaced is not None:
        return replaced

    def below(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(changed(part, change) for part in value)
        return value if isinstance(value, str | bool | None) else changed(value, change)

    values = {field.name: below(getattr(expression, field.name)) for field in fields(expression)}
    return replace(expression, **values)
