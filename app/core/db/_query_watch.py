"""Which statements ran in a block, how often each shape, and from which line: how an N+1 is found.

An N+1 is one statement of a shape per row of another's result: a loop that loads, where one statement with a
join or an IN list would do.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine, ExecutionContext

from app.core.context import current_context
from app.core.db._call_path import call_path
from app.core.db._may_repeat import MAY_REPEAT
from app.core.db._shape import reads_tables, shape_of
from app.core.errors import ConfigurationError, GatehouseError

_MAX_SHAPES = 1000
_MAX_SAMPLES = 50
_CHUNK = 50  # A list of so many values is already the batch that an N+1 lacks.
_active: ContextVar["tuple[QueryWatch, ...]"] = ContextVar("gatehouse_query_watches", default=())


class NPlusOneDetected(GatehouseError):
    """Code under ``forbid_n_plus_one`` repeated a statement. For tests and development, never for callers."""


@dataclass(frozen=True, slots=True)
class RepeatedQuery:
    """One shape that ran ``times`` times from one place, with ``distinct`` different sets of parameters.

    ``distinct`` is counted up to 50. ``total_ms`` is the time at the server and on the way. ``lines`` is the
    place, innermost first; ``policy`` the endpoint that first asked, if any. No values of parameters.
    """

    shape: str
    times: int
    distinct: int
    total_ms: float
    lines: tuple[str, ...]
    policy: str | None = None

    def __str__(self) -> str:
        path = "\n    called from ".join(self.lines)
        return f"{self.times} times, {self.distinct} different parameters: {self.shape}\n    at {path}"


@dataclass(slots=True)
class _Tally:
    policy: str | None
    times: int = 0
    total_s: float = 0.0
    parameters: set[int] = field(default_factory=set)


class QueryWatch:
    """What ``watch_queries`` saw. Holds at most 1,000 shapes by place, and no values."""

    __slots__ = ("_reads_only", "_tallies", "missed", "statements")

    def __init__(self, *, reads_only: bool = True) -> None:
        self._reads_only = reads_only
        self.clear()

    def clear(self) -> None:
        """Forget everything up to here; between two requests of one test, for example."""
        self._tallies: dict[tuple[str, tuple[str, ...]], _Tally] = {}
        self.statements = 0
        """All statements, those that may repeat among them."""
        self.missed = 0
        """Statements of shapes above the limit of 1,000."""

    def repeated(self, threshold: int = 2) -> tuple[RepeatedQuery, ...]:
        """Shapes that ran ``threshold`` times or more from one place, most often first."""
        if threshold < 2:
            raise ConfigurationError("threshold must be 2 or more: one statement is no repetition")
        found = [
            RepeatedQuery(
                shape, tally.times, len(tally.parameters), tally.total_s * 1000, lines, tally.policy
            )
            for (shape, lines), tally in self._tallies.items()
            if tally.times >= threshold
        ]
        return tuple(sorted(found, key=lambda query: -query.times))

    def note(self, statement: str, parameters: Any, lines: Callable[[], tuple[str, ...]]) -> _Tally | None:
        """Count one statement; its tally, when it is one that should not repeat."""
        self.statements += 1
        shape = shape_of(statement)
        if (self._reads_only and not reads_tables(shape)) or len(parameters or ()) >= _CHUNK:
            return None
        key = (shape, lines())
        tally = self._tallies.get(key)
        if tally is None:
            if len(self._tallies) >= _MAX_SHAPES:
                self.missed += 1
                return None
            tally = self._tallies[key] = _Tally(current_context().policy)
        tally.times += 1
        if len(tally.parameters) < _MAX_SAMPLES:
            tally.parameters.add(hash(repr(parameters)))
        return tally


@contextmanager
def watch_queries(*, reads_only: bool = True) -> Iterator[QueryWatch]:
    """Record the statements that this block, its tasks and its threads send, on any engine.

    ``reads_only=False`` counts repeated writes as well. For development and tests: each statement costs tens of
    microseconds more.
    """
    _install()
    watch = QueryWatch(reads_only=reads_only)
    token = _active.set((*_active.get(), watch))
    try:
        yield watch
    finally:
        _active.reset(token)


@contextmanager
def forbid_n_plus_one(*, threshold: int = 2, reads_only: bool = True) -> Iterator[QueryWatch]:
    """Raise ``NPlusOneDetected`` at the end of a block that ran one shape ``threshold`` times from one place.

    The message names the statement, how often it ran and the lines that led to it. An error of the block
    itself is not covered up. A statement that is meant to run often says so:
    ``statement.execution_options(may_repeat=True)``. Lists of 50 values and more, questions to the catalog and
    statements without tables never count. Tests have it as the fixture ``no_n_plus_one``.
    """
    if threshold < 2:
        raise ConfigurationError("threshold must be 2 or more: one statement is no repetition")
    with watch_queries(reads_only=reads_only) as watch:
        yield watch
    if found := watch.repeated(threshold):
        raise NPlusOneDetected("Repeated statements:\n" + "\n".join(map(str, found)))


def lines_once() -> Callable[[], tuple[str, ...]]:
    """The call path, found when first asked for, and once."""
    found: list[tuple[str, ...]] = []

    def lines() -> tuple[str, ...]:
        if not found:
            found.append(call_path())
        return found[0]

    return lines


def _install() -> None:
    """Listen on every engine, from the first watch on; without one, a statement costs one look at a context variable."""
    if not event.contains(Engine, "before_cursor_execute", _before):
        event.listen(Engine, "before_cursor_execute", _before)
        event.listen(Engine, "after_cursor_execute", _after)


def _before(
    _c: Connection, _cursor: Any, sql: str, parameters: Any, context: ExecutionContext | None, many: bool
) -> None:
    watches = _active.get()
    if not watches or context is None:
        return
    may_repeat = many or context.execution_options.get(MAY_REPEAT, False)
    lines = lines_once()
    tallies = []
    for watch in watches:
        if may_repeat:
            watch.statements += 1
        elif (tally := watch.note(sql, parameters, lines)) is not None:
            tallies.append(tally)
    context.gatehouse_watched = (perf_counter(), tallies)  # type: ignore[attr-defined]


def _after(
    _c: Connection, _cursor: Any, _sql: str, _params: Any, context: ExecutionContext | None, _many: bool
) -> None:
    watched: tuple[float, list[_Tally]] | None = getattr(context, "gatehouse_watched", None)
    if watched is not None:
        passed = perf_counter() - watched[0]
        for tally in watched[1]:
            tally.total_s += passed
