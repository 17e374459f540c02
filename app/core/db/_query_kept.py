"""One kept result: from the cache, or made and kept, or made only, as the transaction allows."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import structlog
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._query_footprint import ALL_TABLES, ANY_WRITE, table_tags
from app.core.db._query_keys import database_of, digest
from app.core.db._query_notes import Reading, note_reads, note_secret, notes_of, reading
from app.core.db._query_values import pack, unpack
from app.core.db._session_scope import request_sessions
from app.core.errors import ConfigurationError
from app.core.valkey import CacheOptions, Scope, Unkept, check_scope, default_cache, scoped_key

_log = structlog.get_logger(__name__)
_MOST_BYTES = 1_048_576


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
    """How results of one query are kept. Raises ConfigurationError when built by ``keeping``."""

    options: CacheOptions
    scope: Scope
    adapter: TypeAdapter[Any] | None

    def pack(self, value: Any) -> Any:
        """The value as it is stored."""
        if self.adapter is None or value is None:
            return pack(value)
        shaped = self.adapter.validate_python(value, from_attributes=True)
        return self.adapter.dump_python(shaped, mode="json")

    def unpack(self, packed: Any) -> Any:
        """The value as callers get it."""
        if self.adapter is None or packed is None:
            return unpack(packed)
        return self.adapter.validate_python(packed)

    def shape(self, value: Any) -> Any:
        """A value that is not kept, as callers get it."""
        if self.adapter is None or value is None:
            return value
        return self.adapter.validate_python(value, from_attributes=True)


def keeping(ttl: float, name: str, scope: Scope, model: Any, *, sealed: bool) -> Keeping:
    """Raises ConfigurationError for what is out of range."""
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


async def kept(query: Query) -> Any:
    """The result."""
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
        if any(notes.ends or notes.is_snapshot for notes in notes_of(sync)):
            return True
    return False


async def _make(query: Query, tags: tuple[str, ...]) -> Any:
    with reading() as seen:
        value = await query.run()
    query.tables.learn(seen)
    is_safe = seen.is_fit and (query.keeping.options.sealed or not seen.is_secret)
    if not (is_safe and query.is_alone and query.tables.covers(seen, tags)):
        return Unkept(value)
    try:
        return query.keeping.pack(value)
    except TypeError as error:
        _log.warning("cache.unstorable", cache=query.keeping.options.name, reason=str(error))
        return Unkept(value)
