"""The statements of one engine in the log, and those of each session for ``detect_n_plus_one``."""

from collections.abc import Callable
from time import perf_counter
from typing import Any, Self
from weakref import WeakKeyDictionary, ref

import structlog
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine, ExecutionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from app.core.db._may_repeat import MAY_REPEAT
from app.core.db._query_watch import QueryWatch, RepeatedQuery, lines_once
from app.core.db._shape import shape_of
from app.core.errors import ConfigurationError

_log = structlog.get_logger(__name__)

_KEY = "gatehouse_queries"
_logs: "WeakKeyDictionary[Engine, QueryLogging]" = WeakKeyDictionary()
_watches: WeakKeyDictionary[Connection, QueryWatch] = WeakKeyDictionary()


class QueryLogging:
    """A running log of one engine's statements; ``disable()`` or the end of its ``with`` block stops it."""

    def __init__(
        self, engine: Engine, *, verbose: bool, slow_ms: float, clock: Callable[[], float] = perf_counter
    ) -> None:
        self._engine = ref(engine)  # A log that nobody stopped goes with its engine.
        self._verbose = verbose
        self._slow_ms = slow_ms
        self._clock = clock

    def enable(self) -> Self:
        """Start; a log of the same engine that runs already is replaced."""
        if (engine := self._engine()) is None:
            return self
        if (old := _logs.get(engine)) is not None:
            old.disable()
        event.listen(engine, "before_cursor_execute", self._before)
        event.listen(engine, "after_cursor_execute", self._after)
        _logs[engine] = self
        if not event.contains(Session, "after_begin", _own):
            event.listen(Session, "after_begin", _own)
        return self

    def disable(self) -> None:
        """Stop. What sessions have recorded stays with them."""
        engine = self._engine()
        if engine is None or _logs.get(engine) is not self:
            return
        del _logs[engine]
        event.remove(engine, "before_cursor_execute", self._before)
        event.remove(engine, "after_cursor_execute", self._after)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.disable()

    def _before(
        self,
        connection: Connection,
        _cursor: Any,
        sql: str,
        parameters: Any,
        context: ExecutionContext | None,
        many: bool,
    ) -> None:
        if context is None:
            return
        lines = lines_once()
        watch, tally = _watches.get(connection), None
        if watch is not None and not many and not context.execution_options.get(MAY_REPEAT, False):
            tally = watch.note(sql, parameters, lines)
        if self._verbose:
            lines()
        context.gatehouse_logged = (self._clock(), tally, lines)  # type: ignore[attr-defined]

    def _after(
        self,
        _c: Connection,
        _cursor: Any,
        sql: str,
        _params: Any,
        context: ExecutionContext | None,
        _many: bool,
    ) -> None:
        logged = getattr(context, "gatehouse_logged", None)
        if logged is None:
            return
        started, tally, lines = logged
        passed = self._clock() - started
        if tally is not None:
            tally.total_s += passed
        is_slow = passed * 1000 >= self._slow_ms
        if is_slow or self._verbose:
            write, subject = (_log.warning, "query.slow") if is_slow else (_log.info, "query.executed")
            write(subject, statement=shape_of(sql), duration_ms=round(passed * 1000, 3), lines=lines())


def enable_query_logging(
    engine: AsyncEngine | Engine, verbose: bool = False, *, slow_ms: float = 100.0
) -> QueryLogging:
    """Log an engine's statements by shape, never their values, and record them per session.

    ``query.slow`` (warning) for each that took ``slow_ms`` milliseconds or more; with ``verbose`` also
    ``query.executed`` (info) for every other one. Both with the duration and the lines that led there. Called
    again for the same engine it replaces the former log. Not for production: each statement costs tens of
    microseconds, and metrics have the durations already. Raises ConfigurationError for what is no engine.
    """
    if slow_ms < 0:
        raise ConfigurationError("slow_ms must be 0 or more")
    return QueryLogging(_sync(engine), verbose=verbose, slow_ms=slow_ms).enable()


def detect_n_plus_one(session: AsyncSession | Session, *, threshold: int = 2) -> list[RepeatedQuery]:
    """The shapes of reads that this session ran ``threshold`` times or more from one place, most often first.

    Since its first transaction after ``enable_query_logging``, over all its transactions; asks no server.
    Raises ConfigurationError when its engine's statements are not recorded.
    """
    sync = session.sync_session if isinstance(session, AsyncSession) else session
    watch: QueryWatch | None = sync.info.get(_KEY)
    if watch is None:
        if sync.get_bind().engine not in _logs:
            raise ConfigurationError(
                "The session's statements are not recorded: call QueryAnalyzer.enable_query_logging(engine) first"
            )
        watch = QueryWatch()
    return list(watch.repeated(threshold))


def _own(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    if connection.engine in _logs:
        _watches[connection] = session.info.setdefault(_KEY, QueryWatch())


def _sync(engine: AsyncEngine | Engine) -> Engine:
    if isinstance(engine, AsyncEngine):
        return engine.sync_engine
    if not isinstance(engine, Engine):
        raise ConfigurationError(
            f"enable_query_logging takes an engine, such as Database.engine, not {engine!r:.80}"
        )
    return engine
