"""``get_or_set_cache``: the cache for handlers and services, as a call and as a decorator; private to the caller by default."""

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast, overload

from app.core.errors import ConfigurationError
from app.core.valkey._cache import Cache
from app.core.valkey._cache_options import CacheOptions
from app.core.valkey._cache_scope import Name, Scope, check_scope, scoped_key

P = ParamSpec("P")
T = TypeVar("T")
Tags = Sequence[str] | Callable[..., Sequence[str]]


class _Default:
    cache: Cache | None = None


def configure_cache(cache: Cache | None) -> None:
    """Set the process's default cache. Called by doors; ``None`` forgets it."""
    _Default.cache = cache


def configured_cache() -> Cache | None:
    """The cache that a door configured, if one did; for what happens beside the work itself."""
    return _Default.cache


def default_cache() -> Cache:
    """The cache that a door configured. Raises ``ConfigurationError`` when none did."""
    if _Default.cache is None:
        raise ConfigurationError(
            "No cache is configured in this process: a door (create_app, CLI) calls core.valkey.configure_cache()"
        )
    return _Default.cache


class _Caching(NamedTuple):
    options: CacheOptions
    scope: Scope
    model: Any


@overload
def get_or_set_cache(
    key: Name,
    fn: Callable[[], Awaitable[T]],
    *,
    expire: float | None = None,
    ttl: float | None = None,
    stale: float = 0.0,
    negative_ttl: float = 0.0,
    scope: Scope = "user",
    tags: Sequence[str] = (),
    model: Any = None,
    options: CacheOptions | None = None,
) -> Coroutine[Any, Any, T]: ...


@overload
def get_or_set_cache(
    *,
    key_fn: Callable[..., Name],
    expire: float | None = None,
    ttl: float | None = None,
    stale: float = 0.0,
    negative_ttl: float = 0.0,
    scope: Scope = "user",
    tags: Tags = (),
    model: Any = None,
    options: CacheOptions | None = None,
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]: ...


def get_or_set_cache(
    key: Name | None = None,
    fn: Callable[[], Awaitable[Any]] | None = None,
    *,
    key_fn: Callable[..., Name] | None = None,
    expire: float | None = None,
    ttl: float | None = None,
    stale: float = 0.0,
    negative_ttl: float = 0.0,
    scope: Scope = "user",
    tags: Tags = (),
    model: Any = None,
    options: CacheOptions | None = None,
) -> Any:
    """The value under ``key``, or what ``fn`` gives, kept for ``expire`` (or ``ttl``) seconds. Awaited:
    ``await get_or_set_cache("record:7", fetch, expire=300)``.

    As a decorator of an async function, ``@get_or_set_cache(key_fn=lambda user_id: f"user:{user_id}", ttl=60)``, ``key_fn`` (and
    ``tags``, if it is a function) is given those of the function's arguments that it names.

    ``scope``: ``user`` (default): each caller has his own value; an anonymous one has none, so it is made each time. ``tenant``: shared
    by the callers of a tenant who have equal scopes and roles. ``public``: shared by all. Outside a request it is shared by all such
    work. The parts of a tuple key cannot run into each other: prefer ``("record", record_id)`` when parts come from callers.
    ``options`` instead of the single times sets everything. See ``Cache.get_or_set`` for ``model``, ``tags``, errors and sessions.

    A hit is plain JSON data unless ``model`` is given; of a handler FastAPI validates it against the response model as ever. What JSON
    cannot hold (a Response, an ORM object without ``model``) is passed through, and not kept.

    Raises ConfigurationError without a configured cache, for a mixture of forms, and for a function that is not async.
    """
    caching = _Caching(_options(expire, ttl, stale, negative_ttl, options), scope, model)
    check_scope(scope)
    if key_fn is not None:
        if key is not None or fn is not None:
            raise ConfigurationError("get_or_set_cache takes key and fn, or key_fn; not both")
        return _decorator(caching, key_fn, tags)
    if key is None or fn is None or callable(tags):
        raise ConfigurationError(
            "get_or_set_cache(key, fn, expire=...) needs a key, a function and plain tags; the decorator needs key_fn=..."
        )
    return _get(caching, key, fn, tags)


async def get_or_set_many(
    keys: Sequence[Name],
    loader: Callable[[Sequence[Name]], Awaitable[Mapping[Any, T]]],
    *,
    expire: float | None = None,
    ttl: float | None = None,
    stale: float = 0.0,
    negative_ttl: float = 0.0,
    scope: Scope = "user",
    tags: Sequence[str] = (),
    model: Any = None,
    options: CacheOptions | None = None,
) -> list[T | None]:
    """Values in the order of ``keys`` (at most 1000), the missing ones from one ``loader(missing_keys)``, a mapping by key.

    Scopes and options are those of ``get_or_set_cache``; see ``Cache.get_or_set_many``.
    """
    check_scope(scope)
    cache, settings = default_cache(), _options(expire, ttl, stale, negative_ttl, options)
    names = {scoped_key(name, scope): name for name in keys}
    if None in names:
        cache.emit("skipped", settings)
        loaded = await loader(list(dict.fromkeys(keys)))
        return [loaded.get(name) for name in keys]

    async def load(missing: Sequence[str]) -> Mapping[str, T]:
        loaded = await loader([names[key] for key in missing])
        return {key: loaded[names[key]] for key in missing if names[key] in loaded}

    scoped = [cast("str", scoped_key(name, scope)) for name in keys]
    return await cache.get_or_set_many(scoped, load, settings, tags, model=model)


def _options(
    expire: float | None, ttl: float | None, stale: float, negative_ttl: float, options: CacheOptions | None
) -> CacheOptions:
    if options is not None:
        if expire is not None or ttl is not None or stale or negative_ttl:
            raise ConfigurationError("Give times either in options or one by one, not both")
        return options
    if (expire is None) == (ttl is None):
        raise ConfigurationError("Give either expire or ttl, in seconds (they mean the same)")
    try:
        return CacheOptions(
            ttl=cast("float", expire if ttl is None else ttl), stale=stale, negative_ttl=negative_ttl
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


async def _get(caching: _Caching, name: Name, fn: Callable[[], Awaitable[Any]], tags: Sequence[str]) -> Any:
    cache, key = default_cache(), scoped_key(name, caching.scope)
    if key is None:
        cache.emit("skipped", caching.options)
        return await fn()
    return await cache.get_or_set(key, fn, caching.options, tags, model=caching.model)


def _decorator(
    caching: _Caching, key_fn: Callable[..., Name], tags: Tags
) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]:
    def decorate(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        if not inspect.iscoroutinefunction(function):
            raise ConfigurationError(
                f"get_or_set_cache decorates async functions; {function!r} is not one (make it `async def`)"
            )
        signature = inspect.signature(function)
        name_of = _by_name(key_fn, signature)
        tags_of = _by_name(tags, signature) if callable(tags) else None

        @functools.wraps(function)
        async def cached(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            present = tags_of(bound.arguments) if tags_of is not None else cast("Sequence[str]", tags)
            return await _get(
                caching, name_of(bound.arguments), functools.partial(function, *args, **kwargs), present
            )

        return cached

    return decorate


def _by_name(function: Callable[..., T], of: inspect.Signature) -> Callable[[Mapping[str, Any]], T]:
    """``function`` called with those arguments that it names, or with all if it takes any."""
    wanted = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in wanted):
        return lambda arguments: function(**arguments)
    names = [parameter.name for parameter in wanted if parameter.name in of.parameters]
    unknown = [
        parameter.name
        for parameter in wanted
        if parameter.name not in of.parameters and parameter.default is parameter.empty
    ]
    if unknown:
        raise ConfigurationError(
            f"A key or tag function names {', '.join(unknown)}, which the function does not take"
        )
    return lambda arguments: function(**{name: arguments[name] for name in names})
