"""The query cache: results of reads, kept until a table that they were read from changes."""

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString, ParamSpec, TypeVar, cast

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._errors import translate_errors
from app.core.db._query_footprint import ANY_WRITE, footprint, table_tags
from app.core.db._query_kept import Keeping, Query, Tables, keeping, kept
from app.core.db._query_keys import bound, call_key, digest, session_in, surroundings
from app.core.db._query_notes import guest_info, notes_of
from app.core.db._session_scope import request_sessions
from app.core.db._session_types import ReadSession, WriteSession
from app.core.errors import ConfigurationError
from app.core.valkey import Scope, default_cache

P = ParamSpec("P")
R = TypeVar("R")


def cached_query(
    ttl: float = 300.0,
    *,
    tables: Sequence[str] | None = None,
    scope: Scope = "user",
    key_fn: Callable[..., Any] | None = None,
    model: Any = None,
    sealed: bool = False,
    name: str = "query",
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Keep what an async function reads for ``ttl`` seconds (0.001 to 86,400), at most until a table it reads changes.

    ``@cached_query(ttl=300)`` over ``async def get_statistics(db: AsyncSession, user_id: UUID)``. The key is the function, its
    arguments but the session, and the caller: ``scope`` is that of ``get_or_set_cache`` ("public": one result for all). ``key_fn``
    gets all arguments and gives what the result depends on, for arguments such as ``self``. Of the variables around a function that is
    made inside another one, plain values and classes belong to the key, as they are when it is decorated.

    Which tables it reads is seen when it runs; ``tables`` names them where text is not understood, or views and functions of the
    server hide them. Every commit of a session of ours ends what was read from the tables it wrote, before ``commit()`` returns.

    Asks the database, and keeps nothing, in a transaction that has written, has a snapshot of its own (REPEATABLE READ), or sees other
    tables or rows than others do (``search_path``, ``SET ROLE``, ``schema_translate_map``), and for anonymous callers unless public.
    ``sealed`` encrypts what is kept; without it nothing that was decrypted on its way is kept. Mapped objects come back detached,
    without relationships; with ``model`` (any type that Pydantic knows) in that shape.

    The function gets a session of its own on the caller's connection; without a session among its arguments it must open one
    itself. With a ``ReadSession`` it reads from the primary what it keeps, and keeps nothing of a transaction that has begun on the
    replica. Not for balances and permissions. Raises ConfigurationError for a function that is not
    async, and arguments that make no key.
    """
    how = keeping(ttl, name, scope, model, sealed=sealed)
    told = None if tables is None else tuple(tables)

    def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        if not inspect.iscoroutinefunction(function):
            raise ConfigurationError(f"cached_query decorates async functions; {function!r} is not one")
        return cast("Callable[P, Coroutine[Any, Any, R]]", _kept_function(function, how, told, key_fn))

    return decorate


def cache_result(
    ttl_seconds: float = 300.0, **options: Any
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """``cached_query`` under the documents' name."""
    return cached_query(ttl_seconds, **options)


def _kept_function(
    function: Any, how: Keeping, told: tuple[str, ...] | None, key_fn: Callable[..., Any] | None
) -> Callable[..., Awaitable[Any]]:
    signature, tables = inspect.signature(function), Tables(told)
    path = f"{function.__module__}.{function.__qualname__}{surroundings(function)}"

    @functools.wraps(function)
    async def cached(*args: Any, **kwargs: Any) -> Any:
        call = bound(signature, args, kwargs)
        given = session_in(call.arguments)

        async def run() -> Any:
            if given is None:
                return await function(*args, **kwargs)
            async with guest_of(given[1]) as guest:
                call.arguments[given[0]] = guest
                return await function(*call.args, **call.kwargs)

        about = call_key(call.arguments) if key_fn is None else digest(key_fn(*args, **kwargs))
        session = given[1] if given is not None else None
        # Objects that a session has loaded before are not read again: they may be older than the tags' versions.
        is_alone = given is not None or not any(one.identity_map for one in request_sessions())
        return await kept(Query(("query", path, about), tables, how, session, run, is_alone))

    return cached


@asynccontextmanager
async def guest_of(session: AsyncSession) -> AsyncIterator[AsyncSession]:
    """A session without any object yet, in the transaction of ``session``, which goes on after it."""
    if session.sync_session.new or session.sync_session.dirty or session.sync_session.deleted:
        await session.flush()
    connection = await session.connection()
    kind = ReadSession if isinstance(session, ReadSession) else WriteSession
    async with kind(
        connection,
        expire_on_commit=False,
        close_resets_only=False,
        join_transaction_mode="rollback_only",
        info=guest_info(),
    ) as guest:
        yield guest


async def cached_db_query(
    db: AsyncSession,
    sql: LiteralString,
    params: Mapping[str, Any] | None = None,
    *,
    ttl: float = 300.0,
    tables: Sequence[str] | None = None,
    scope: Scope = "user",
    sealed: bool = False,
    name: str = "query",
) -> list[dict[str, Any]]:
    """The rows of a SELECT in text, as dicts, kept as ``cached_query`` keeps.

    ``tables`` names what it reads; without them, and if the text is not understood, every write to any table ends it. Raises
    ConfigurationError for text that may write, and a ``DatabaseError`` for what the server refuses.
    """
    mark = footprint(sql)
    if mark.writes:
        raise ConfigurationError("cached_db_query only reads; run a statement that writes with db.execute()")
    used = Tables(None if tables is None else tuple(tables))
    if used.seen is None and mark.is_known:
        used.seen = mark.reads

    async def run() -> list[dict[str, Any]]:
        with translate_errors():
            rows = await db.execute(text(sql), dict(params or {}))
        return [dict(row) for row in rows.mappings()]

    how = keeping(ttl, name, scope, None, sealed=sealed)
    about = ("sql", digest(sql, dict(params or {})))
    return cast("list[dict[str, Any]]", await kept(Query(about, used, how, db, run, is_alone=True)))


async def invalidate_table_cache(*tables: str) -> None:
    """End whatever was read from these tables: now, and once more when the request in hand has committed.

    For what no session of ours wrote: COPY, triggers, other programs. Raises ConfigurationError without a name, or without a cache.
    Never raises for the store: what an outage keeps from being ended is ended when it is over.
    """
    if not tables or not all(map(str.strip, tables)):
        raise ConfigurationError('invalidate_table_cache needs the names of tables: ("users")')
    tags = {*table_tags(tables), ANY_WRITE}
    for session in request_sessions():
        for notes in notes_of(session.sync_session):
            notes.ends |= tags
    await default_cache().end_tags(*sorted(tags))
