"""Conditions that no index serves as they are written, and what to write instead."""

from app.core.db import shape_of
from app.core.monitor._plan import PlanStep
from app.core.monitor.advice._expressions import (
    Call,
    Cast,
    Column,
    Either,
    Expression,
    IsTest,
    Negation,
    OfArray,
    Operation,
    columns_of,
)
from app.core.monitor.advice._reading import read
from app.core.monitor.advice._readings import Reading
from app.core.monitor.advice._rendering import rendered
from app.core.monitor.advice._suggestions import Rewrite
from app.core.monitor.advice._ways import Ways

_SELECTIVE = 0.05
_MANY = 1_000
_MOMENT = "timestamp"


def rewrite_of(reading: Reading, reader: Ways, clause: Expression) -> Rewrite | None:
    """What to write instead of ``clause``, if it is one that hides a column from every index; None for others."""
    if reader.of(clause) is not None or not columns_of(clause):
        return None
    found = _meant(reading, clause)
    if found is None:
        return None
    instead, reason = found
    return Rewrite(reading.table.title, shown(clause), instead, reason)


def shown(expression: Expression) -> str:
    """A condition without its values."""
    return shape_of(rendered(expression)).replace('"', "")


def _meant(reading: Reading, clause: Expression) -> tuple[str | None, str] | None:
    match clause:
        case OfArray("=", value, Column() as array) if not _mine(reading, value):
            return (
                f"{shown(array)} @> ARRAY[?]",
                "an index of an array serves @>, and not = ANY of the column",
            )
        case OfArray("<>", _, _, True) | Operation("<>", _, _) | Negation():
            return None, "an index finds what is equal; it does not find what differs"
        case Either():
            return (
                None,
                "one side of the OR is served by no index, so none serves the whole: make it two queries with UNION",
            )
        case Operation(operator, left, right) if left is not None:
            key = left if _mine(reading, left) else right
            return _of_key(reading, operator, key)
        case IsTest(of, "NULL" | "NOT NULL") if not isinstance(of, Column):
            return _of_key(reading, "=", of)
        case _:
            return None


def _of_key(reading: Reading, operator: str, key: Expression) -> tuple[str | None, str] | None:
    columns = columns_of(key)
    if len(columns) != 1 or isinstance(key, Column):
        return None
    name = shown(columns[0])
    column = reading.table.columns.get(columns[0].name)
    kind = column.type if column is not None else "its own type"
    if kind.startswith(_MOMENT) and isinstance(key, Call | Cast):
        reason = "what hides the column here depends on the time zone or the language of the session; ask for the range of moments"
        return f"{name} >= ? AND {name} < ?", reason
    return _by_shape(name, kind, operator, key)


def _by_shape(name: str, kind: str, operator: str, key: Expression) -> tuple[str | None, str] | None:
    match key:
        case Cast(_, target):
            return f"{name} {operator} ?::{kind}", f"the column is cast to {target}; cast the value instead"
        case Operation("/", _, _):
            return (
                f"{name} >= ? AND {name} < ?",
                "the column is computed with; ask for the range that gives this result",
            )
        case Operation("+" | "-" | "*", _, _):
            return (
                f"{name} {operator} ?",
                "the column is computed with; move the computation to the other side",
            )
        case Operation("%", _, _):
            return None, "the column is computed with, and no index finds the result"
        case _:
            return None


def _mine(reading: Reading, expression: Expression) -> bool:
    return any(it.alias == reading.alias for it in columns_of(expression))


def materialized(root: PlanStep) -> list[Rewrite]:
    """Conditions on a CTE that is computed whole before they are looked at."""
    reason = "the WITH query is computed whole first; no index helps after that"
    return [
        Rewrite(step.cte, shown(read(step.filter)), "WITH ... AS NOT MATERIALIZED", reason)
        for step in root.walk()
        if step.kind == "CTE Scan" and step.filter and step.cte and _is_selective(root, step)
    ]


def _is_selective(root: PlanStep, scan: PlanStep) -> bool:
    source = next((it for it in root.walk() if it.subplan == f"CTE {scan.cte}"), None)
    return source is not None and source.rows >= _MANY and scan.rows <= source.rows * _SELECTIVE
