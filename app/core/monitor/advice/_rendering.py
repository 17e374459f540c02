"""Expressions as SQL again."""

from collections.abc import Callable

from app.core.monitor._relations import quoted
from app.core.monitor.advice._expressions import (
    Both,
    Call,
    Cast,
    Collated,
    Column,
    Constant,
    Either,
    Expression,
    Given,
    IsTest,
    Negation,
    OfArray,
    Opaque,
    Operation,
    Row,
)


def rendered(expression: Expression, *, aliases: bool = True) -> str:
    """SQL of an expression, names quoted; ``aliases=False`` for use in an index, where columns stand alone."""

    def sql(*parts: Expression, between: str = ", ") -> str:
        return between.join(rendered(part, aliases=aliases) for part in parts)

    match expression:
        case Column(alias, name):
            return f"{quoted(alias)}.{quoted(name)}" if aliases and alias is not None else quoted(name)
        case Constant(text) | Given(text) | Opaque(text):
            return text
        case Call():
            return _call(expression, sql)
        case Operation() | OfArray() | Negation():
            return _operation(expression, sql)
        case Both(parts) | Either(parts):
            return f"({sql(*parts, between=' AND ' if isinstance(expression, Both) else ' OR ')})"
        case _:
            return _other(expression, sql)


def _call(call: Call, sql: Callable[..., str]) -> str:
    if call.form == "extract":
        return f"EXTRACT({call.name} FROM {sql(*call.arguments)})"
    if call.form == "zone":
        zone, moment = call.arguments
        return f"({sql(moment)} AT TIME ZONE {sql(zone)})"
    return f"{call.name}({sql(*call.arguments)})"


def _operation(expression: Operation | OfArray | Negation, sql: Callable[..., str]) -> str:
    match expression:
        case Negation(of):
            return f"(NOT {sql(of)})"
        case Operation(operator, None, right):
            return f"({operator} {sql(right)})"
        case Operation(operator, left, right):
            return f"({sql(left)} {operator} {sql(right)})"
        case OfArray(operator, left, array, is_all):
            return f"({sql(left)} {operator} {'ALL' if is_all else 'ANY'} ({sql(array)}))"


def _other(expression: Cast | IsTest | Row | Collated, sql: Callable[..., str]) -> str:
    match expression:
        case Cast(of, name):
            return f"({sql(of)})::{name}"
        case IsTest(of, what):
            return f"({sql(of)} IS {what})"
        case Row("ARRAY", parts):
            return f"ARRAY[{sql(*parts)}]"
        case Row(_, parts):
            return f"ROW({sql(*parts)})"
        case Collated(of, name):
            return f"({sql(of)} COLLATE {name})"
