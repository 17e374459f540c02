"""One kept result: from the cache, or made and kept, or made only, as the transaction allows."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import structlog
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._errors import translate_errors
from app.core.db._query_footprint import ALL_TABLES, ANY_WRITE, table_tags
from app.core.db._query_keys import database_of, digest
from app.core.db._query_notes import is_elsewhere, notes_of
from app.core.db._query_reading import Reading, note_reads, note_secret, reading
from app.core.db._query_values import pack, unpack
from app.core.db._session_scope import request_sessions
from app.core.errors import ConfigurationError
from app.core.valkey import CacheOptions, Scope, Unkept, check_scope, default_cache, scoped_key

_log = structlog.get_logger(__name__)
_MOST_BYTES = 1_048_576
_WRITTEN = "SELECT pg_current_xact_id_if_assigned()"


class Tables:
    """What a query depends on: the tables it was told, and those that it was seen to read in this process."""

    __slots__ = ("_told", "seen")

    def __init__(self, told: tuple[str, ...] | None) -> None:
        self._told = told is not None
        self.seen: frozenset[str] | None = None if told is None else table_tags(told)

    def tags(self) -> tuple[str, ...]:
        """In order. Before the first run, and for text that nobody understands, every write counts."""
        return (ANY_WRITE,) if self.seen is None else tuple(sorted({*self.seen, ALL_TABLES}))

    def learn(self, seen: Reading) -> None:
        """Add what a run read."""
        if seen.is_known or self._told:
            self.seen = frozenset(seen.tags) | (self.seen or frozenset())

    def covers(self, seen: Reading, tags: tuple[str, ...]) -> bool:
        """Whether a result with these tags ends whenever it must."""
        return ANY_WRITE in tags or ((seen.is_known or self._told) and seen.tags <= {*tags})


class Keeping(NamedTuple):
    """How results of one query are kept; made by ``keeping``. Without ``adapter`` they keep their own Python types."""

    options: CacheOptions
    scope: Scope
    adapter: TypeAdapter[Any] | None

    def pack(self, value: Any) -> Any:
        """The value as it is stored."""
        if self.adapter is None or value is None:
            return pack(value)
        shaped = self.adapter.validate_python(value, from_attributes=True)
        # Packed, because JSON has no infinity, which Pydantic leaves to whoever writes it down.
        return pack(self.adapter.dump_python(shaped, mode="json"))

    def unpack(self, packed: Any) -> Any:
        """The value as callers get it."""
        if self.adapter is None or packed is None:
            return unpack(packed)
        return self.adapter.validate_python(unpack(packed))

    def shape(self, value: Any) -> Any:
        """A value that is not kept, as callers get it."""
        if self.adapter is None or value is None:
            return value
        return self.adapter.validate_python(value, from_attributes=True)


def keeping(ttl: float, name: str, scope: Scope, model: Any, *, sealed: bool) -> Keeping:
    """The options of ``cached_query``, checked. Raises ConfigurationError for what is out of range."""
    check_scope(scope)
    try:
        options = CacheOptions(ttl=ttl, negative_ttl=ttl, name=name, sealed=sealed, max_bytes=_MOST_BYTES)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(str(error)) from error
    return Keeping(options, scope, None if model is None else TypeAdapter(model))


class Query(NamedTuple):
    """One call. ``run`` asks the database; ``is_alone``: it has a session that holds no object that was loaded earlier."""

    name: tuple[str, ...]
    tables: Tables
    keeping: Keeping
    session: AsyncSession | None
    run: Callable[[], Awaitable[Any]]
    is_alone: bool


class _OnSession:
    """Work on the caller's session, which others may wait for too: it must have ended when its caller goes and closes the session."""

    __slots__ = ("_run", "_task")

    def __init__(self, run: Callable[[], Awaitable[Any]]) -> None:
        self._run = run
        self._task: asyncio.Task[Any] | None = None

    async def __call__(self) -> Any:
        self._task = asyncio.current_task()
        try:
            return await self._run()
        finally:
            self._task = None

    async def end(self) -> None:
        """Cancel it where it runs; those who wait for it make the value themselves."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.wait({self._task})


async def kept(query: Query) -> Any:
    """The result: from the cache, or asked for and kept, or asked for only. Raises what ``query.run`` raises, nothing of the cache's."""
    if query.session is None:
        return await _kept(query)
    work = _OnSession(query.run)
    try:
        return await _kept(query._replace(run=work))
    except asyncio.CancelledError:
        await work.end()
        raise


async def _kept(query: Query) -> Any:
    cache, how, tags = default_cache(), query.keeping, query.tables.tags()
    name = (*query.name, digest(database_of(query.session), *tags))
    key = scoped_key(name, how.scope)
    if key is None or _must_ask(query.session) or cache.owes(tags):
        cache.emit("skipped", how.options)
        return how.shape(await query.run())
    found = await cache.get_or_set(key, lambda: _make(query, tags), how.options, tags)
    note_reads(query.tables.seen or (), is_known=query.tables.seen is not None)
    if how.options.sealed:
        note_secret()
    if isinstance(found, Unkept):
        return how.shape(found.value)
    try:
        return how.unpack(found)
    except ValueError:  # another version of the program stored it
        cache.emit("unreadable", how.options)
        return how.shape(await query.run())


def _must_ask(session: AsyncSession | None) -> bool:
    """Whether a transaction is under way that sees something else than what is committed last."""
    for one in (*request_sessions(), *([session] if session is not None else [])):
        sync = one.sync_session
        if sync.new or sync.dirty or sync.deleted:
            return True
        if is_elsewhere(sync.get_bind().get_execution_options()):
            return True
        if any(notes.ends or notes.is_snapshot for notes in notes_of(sync)):
            return True
    return False


async def _has_written(session: AsyncSession | None) -> bool:
    """Whether the transaction has written what nobody noted: by a function of the server, a trigger, its bare connection.

    What is read in it now may never be committed. Asked of the driver, so that no log or count of statements shows it; it costs a round
    trip, and only where something went before in the same transaction.
    """
    if session is None or not notes_of(session.sync_session):
        return False
    with translate_errors():
        raw = await (await session.connection()).get_raw_connection()
        driver: Any = raw.driver_connection
        return await driver.fetchval(_WRITTEN) is not None


async def _make(query: Query, tags: tuple[str, ...]) -> Any:
    has_written = await _has_written(query.session)
    with reading() as seen:
        value = await query.run()
    query.tables.learn(seen)
    is_safe = seen.is_fit and not has_written and (query.keeping.options.sealed or not seen.is_secret)
    if not (is_safe and query.is_alone and query.tables.covers(seen, tags)):
        return Unkept(value)
    try:
        return query.keeping.pack(value)
    except TypeError as error:
        reason = str(error)
    except ValueError as error:  # Pydantic's: its text may quote the value.
        reason = type(error).__name__
    _log.warning("cache.unstorable", cache=query.keeping.options.name, reason=reason)
    return Unkept(value)
