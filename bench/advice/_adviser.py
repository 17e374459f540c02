"""The adviser that is measured, and two that are measured beside it to show what the numbers mean."""

import time
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import Any

from app.core.errors import GatehouseError
from app.core.monitor import MonitorServer
from bench.advice._case import Case, Indexes
from bench.advice._score import Said
from bench.advice._shape import NotAnIndex, Shapes, spec_of

Adviser = Callable[[Case], Awaitable[Said]]


class NoAdviser(RuntimeError):
    """This checkout has no index advice to measure."""


def the_adviser(server: MonitorServer, shapes: Shapes) -> Adviser:
    """Gatehouse's own. Its DDL is really run (on the empty twin), so what the server refuses is a wrong suggestion. Raises NoAdviser."""
    try:
        advise: Any = import_module("app.core.monitor.advice").advise
    except ImportError as error:
        raise NoAdviser("app.core.monitor.advice is not there") from error

    async def ask(case: Case) -> Said:
        began = time.perf_counter()
        try:
            advice = await advise(server, case.sql)
        except GatehouseError as error:
            return _no(error, began)
        except Exception as error:  # noqa: BLE001 - what an adviser raises is what is measured
            return Said(failure=f"{type(error).__name__}: {error}", ms=_since(began))
        taken = _since(began)
        indexes = await _as_written(shapes, [one.ddl for one in advice.suggestions])
        return Said(indexes, ms=taken, rewrites=len(advice.rewrites))

    return ask


def _no(error: GatehouseError, began: float) -> Said:
    words = f"{type(error).__name__}: {error}"
    if 400 <= error.status < 500:
        return Said(refusal=words, ms=_since(began))
    return Said(failure=words, ms=_since(began))


def _since(began: float) -> float:
    return 1000 * (time.perf_counter() - began)


async def _as_written(shapes: Shapes, statements: Sequence[Any]) -> Indexes:
    """What each statement makes; one that makes nothing stands for itself, and is right nowhere."""
    made = []
    for statement in statements:
        words = [statement] if isinstance(statement, str) else statement
        try:
            made.append(await shapes.of(spec_of(next(iter(words), ""))))
        except NotAnIndex as error:
            made.append(f"what the server refuses: {error}")
    return frozenset(made)


def silence() -> Adviser:
    """Says nothing ever: what being quiet is worth."""

    async def ask(case: Case) -> Said:
        return Said(refusal="as it should be" if case.is_refused else None)

    return ask


def perfect(shapes: Shapes) -> Adviser:
    """Says the first right answer: what the scale's end looks like, and that every answer can be given."""

    async def ask(case: Case) -> Said:
        if case.is_refused:
            return Said(refusal="as it should be")
        return Said(await shapes.all_of(next(iter(case.accepted), frozenset())))

    return ask
