"""Somebody else has written under the cache's keys: it loses what it had there, and no caller sees an error."""

import pytest

from app.core.valkey import CacheOptions, ValkeyClient, tag_key
from tests.core.valkey.caching import KEY, Source, Watched

pytestmark = pytest.mark.usefixtures("clean_store")
FOREIGN = [("RPUSH", "x"), ("HSET", "x", "y"), ("SET", "x"), ("SET", "1 2\n3"), ("SET", b"\xff\xfe")]
OPTIONS = CacheOptions(ttl=60, stale=60, hard_timeout=0.2)


@pytest.mark.parametrize("foreign", FOREIGN, ids=str)
@pytest.mark.parametrize("key", [KEY, tag_key("orders")])
async def test_an_entry_or_a_tag_that_is_something_else_is_made_anew_and_kept(
    store: ValkeyClient, key: str, foreign: tuple[str | bytes, ...]
) -> None:
    watched, source = Watched(store), Source()
    command, *rest = foreign
    await watched.cache.get_or_set(KEY, source, OPTIONS, ("orders",))
    await store.execute("DEL", key)
    await store.execute(command, key, *rest)
    values = [await watched.cache.get_or_set(KEY, source, OPTIONS, ("orders",)) for _ in range(2)]
    assert (values, source.calls) == (["new", "new"], 2)


@pytest.mark.parametrize("foreign", FOREIGN, ids=str)
async def test_many_at_once_too(store: ValkeyClient, foreign: tuple[str | bytes, ...]) -> None:
    watched, asked = Watched(store), list[tuple[str, ...]]()
    keys, (command, *rest) = [f"{{p:{i}}}:v1:e" for i in range(3)], foreign

    async def load(missing: object) -> dict[str, str]:
        asked.append(tuple(missing))  # type: ignore[arg-type]
        return {key: key for key in keys}

    await watched.cache.get_or_set_many(keys, load, OPTIONS)
    await store.execute("DEL", keys[1])
    await store.execute(command, keys[1], *rest)
    assert [await watched.cache.get_or_set_many(keys, load, OPTIONS) for _ in range(2)] == [keys, keys]
    assert asked == [tuple(keys), (keys[1],)]


@pytest.mark.parametrize("foreign", FOREIGN, ids=str)
async def test_a_tag_that_is_something_else_can_be_ended(
    store: ValkeyClient, foreign: tuple[str | bytes, ...]
) -> None:
    watched, source, key = Watched(store), Source(), tag_key("orders")
    await store.execute(foreign[0], key, *foreign[1:])
    await watched.cache.invalidate_tags("orders")
    assert (await store.execute("GET", key)).isdigit()
    assert await watched.cache.get_or_set(KEY, source, OPTIONS, ("orders",)) == "new"


@pytest.mark.parametrize("foreign", FOREIGN, ids=str)
async def test_a_lease_that_is_something_else_keeps_nobody_from_the_value(
    store: ValkeyClient, foreign: tuple[str | bytes, ...]
) -> None:
    watched, source = Watched(store), Source()
    await store.execute(foreign[0], f"{KEY}:l", *foreign[1:])
    assert await watched.cache.get_or_set(KEY, source, OPTIONS) == "new"
