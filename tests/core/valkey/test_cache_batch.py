"""Many values at once."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from app.core.valkey import Cache, CacheOptions, ValkeyClient
from tests.core.valkey.caching import MINUTE, Overtaken, Source, Watched, age, until

pytestmark = pytest.mark.usefixtures("clean_store")
STALE = CacheOptions(ttl=60, stale=600)


def key(number: int) -> str:
    return f"{{p:{number}}}:v1:e"


KEYS = [key(number) for number in range(5)]


async def until_all_free(store: ValkeyClient) -> None:
    async def are_free() -> bool:
        return bool(await store.execute("EXISTS", *(f"{key}:l" for key in KEYS)) == 0)

    await until(are_free)


class Loader:
    """Gives each key's number times ten, unless it is among the ``missing``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.missing: set[str] = set()
        self.error: Exception | None = None
        self.started = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, keys: Sequence[str]) -> Mapping[str, Any]:
        self.asked.append(tuple(keys))
        self.started.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {key: int(key[3]) * 10 for key in reversed(keys) if key not in self.missing}


@pytest.fixture
def watched(store: ValkeyClient) -> Watched:
    return Watched(store)


@pytest.fixture
def loader() -> Loader:
    return Loader()


class TestMany:
    async def test_order_is_kept_and_the_missing_share_one_call(
        self, watched: Watched, loader: Loader
    ) -> None:
        await watched.cache.get_or_set(key(3), Source("kept"), MINUTE)
        order = [key(4), key(3), key(0), key(4), key(1)]
        assert await watched.cache.get_or_set_many(order, loader, MINUTE) == [40, "kept", 0, 40, 10]
        assert loader.asked == [(key(4), key(0), key(1))]
        assert await watched.cache.get_or_set_many(order, loader, MINUTE) == [40, "kept", 0, 40, 10]
        assert len(loader.asked) == 1

    async def test_nothing_asked_for_is_nothing_loaded(self, watched: Watched, loader: Loader) -> None:
        assert await watched.cache.get_or_set_many([], loader, MINUTE) == []
        assert loader.asked == []

    async def test_too_many_are_refused(self, watched: Watched, loader: Loader) -> None:
        with pytest.raises(ValueError, match="at most 1000 keys"):
            await watched.cache.get_or_set_many(["k"] * 1001, loader, MINUTE)

    async def test_what_it_warms_single_calls_find(self, watched: Watched, loader: Loader) -> None:
        await watched.cache.get_or_set_many(KEYS, loader, MINUTE, ("t",))
        source = Source()
        assert await watched.cache.get_or_set(key(2), source, MINUTE, ("t",)) == 20
        await watched.cache.invalidate_tags("t")
        await watched.cache.get_or_set_many(KEYS, loader, MINUTE, ("t",))
        assert loader.asked == [tuple(KEYS)] * 2

    async def test_keys_that_the_loader_leaves_out_are_none_and_asked_for_again(
        self, watched: Watched, loader: Loader
    ) -> None:
        loader.missing = {key(1)}
        assert await watched.cache.get_or_set_many(KEYS[:3], loader, MINUTE) == [0, None, 20]
        assert await watched.cache.get_or_set_many(KEYS[:3], loader, MINUTE) == [0, None, 20]
        assert loader.asked == [tuple(KEYS[:3]), (key(1),)]

    async def test_what_cannot_be_read_is_loaded_anew(self, watched: Watched, loader: Loader) -> None:
        await watched.cache.get_or_set(key(1), Source("no number"), MINUTE)
        for _ in range(2):
            assert await watched.cache.get_or_set_many(KEYS[:3], loader, MINUTE, model=int) == [0, 10, 20]
        assert loader.asked == [tuple(KEYS[:3])]

    async def test_none_is_kept_if_asked_for(self, watched: Watched, loader: Loader) -> None:
        loader.missing = {key(1)}
        options = CacheOptions(ttl=60, negative_ttl=5)
        for _ in range(2):
            assert await watched.cache.get_or_set_many(KEYS[:3], loader, options) == [0, None, 20]
        assert len(loader.asked) == 1


class TestOthers:
    async def test_keys_that_somebody_makes_are_waited_for(
        self, watched: Watched, store: ValkeyClient, loader: Loader
    ) -> None:
        source = Source("theirs")
        source.hold()
        other = asyncio.create_task(Cache(store).get_or_set(key(1), source, MINUTE))
        await source.started.wait()
        many = asyncio.create_task(watched.cache.get_or_set_many(KEYS[:3], loader, MINUTE))
        await loader.started.wait()
        source.gate.set()
        assert await many == [0, "theirs", 20]
        assert loader.asked == [(key(0), key(2))]
        await other

    async def test_what_he_does_not_make_in_time_is_loaded_in_a_second_call(
        self, watched: Watched, loader: Loader
    ) -> None:
        await watched.cache.take_lease(key(1), "another", 60_000, "-")
        options = CacheOptions(ttl=60, hard_timeout=0.05)
        assert await watched.cache.get_or_set_many(KEYS[:3], loader, options) == [0, 10, 20]
        assert loader.asked == [(key(0), key(2)), (key(1),)]

    async def test_what_he_gives_up_is_loaded_and_kept(
        self, watched: Watched, store: ValkeyClient, loader: Loader
    ) -> None:
        await watched.cache.take_lease(key(1), "another", 60_000, "-")
        many = asyncio.create_task(watched.cache.get_or_set_many(KEYS[:3], loader, MINUTE))
        await loader.started.wait()
        await watched.cache.release(key(1), "another")
        assert await many == [0, 10, 20]
        assert (await watched.cache.lookup(key(1))).is_fresh

    async def test_what_is_stored_between_the_look_and_the_lease_is_taken(
        self, store: ValkeyClient, loader: Loader
    ) -> None:
        overtaken = Overtaken(store, (key(1),))
        assert await overtaken.get_or_set_many(KEYS[:3], loader, MINUTE) == [0, "theirs", 20]
        assert loader.asked == [(key(0), key(2))]
        await until_all_free(store)

    async def test_what_is_loaded_after_an_invalidation_is_kept_as_of_then(
        self, watched: Watched, loader: Loader
    ) -> None:
        seen = await watched.cache.lookup(key(1), ("t",))
        await watched.cache.take_lease(key(1), "another", 60_000, seen.versions)
        many = asyncio.create_task(watched.cache.get_or_set_many(KEYS[:2], loader, MINUTE, ("t",)))
        await loader.started.wait()
        await watched.cache.invalidate_tags("t")
        await watched.cache.release(key(1), "another")
        assert await many == [0, 10]
        present = await watched.cache.lookup_many(KEYS[:2], ("t",))
        assert [found.is_fresh for found in present] == [False, True]

    async def test_two_batches_at_once_load_each_key_once(self, watched: Watched, loader: Loader) -> None:
        loader.gate.clear()
        first = asyncio.create_task(watched.cache.get_or_set_many(KEYS[:3], loader, MINUTE))
        await loader.started.wait()
        second = asyncio.create_task(watched.cache.get_or_set_many(KEYS[1:], loader, MINUTE))
        while len(loader.asked) < 2:  # noqa: ASYNC110 - it is set for the first already
            await asyncio.sleep(0)
        loader.gate.set()
        assert (await first, await second) == ([0, 10, 20], [10, 20, 30, 40])
        assert loader.asked == [tuple(KEYS[:3]), tuple(KEYS[3:])]

    async def test_a_stale_value_that_somebody_makes_anew_is_shown(
        self, watched: Watched, store: ValkeyClient, loader: Loader
    ) -> None:
        await watched.cache.get_or_set(key(1), Source("old"), STALE)
        await age(store, 120_000, key(1))
        await watched.cache.take_lease(key(1), "another", 60_000, "-")
        assert await watched.cache.get_or_set_many(KEYS[:3], loader, STALE) == [0, "old", 20]

    async def test_who_is_cancelled_gives_his_leases_up(
        self, watched: Watched, store: ValkeyClient, loader: Loader
    ) -> None:
        loader.gate.clear()
        many = asyncio.create_task(watched.cache.get_or_set_many(KEYS, loader, MINUTE))
        await loader.started.wait()
        many.cancel()
        with pytest.raises(asyncio.CancelledError):
            await many
        await until_all_free(store)


class TestErrors:
    async def test_without_stale_values_the_error_is_raised_and_leases_are_free(
        self, watched: Watched, store: ValkeyClient, loader: Loader
    ) -> None:
        await watched.cache.get_or_set(key(1), Source("old"), STALE)
        await age(store, 120_000, key(1))
        loader.error = OSError("down")
        with pytest.raises(OSError, match="down"):
            await watched.cache.get_or_set_many(KEYS[:3], loader, STALE)
        await until_all_free(store)

    async def test_stale_values_are_shown_if_there_is_one_for_each(
        self, watched: Watched, store: ValkeyClient, loader: Loader
    ) -> None:
        await watched.cache.get_or_set_many(KEYS, loader, STALE)
        for stale in KEYS:
            await age(store, 120_000, stale)
        loader.error = OSError("down")
        for _ in range(2):
            assert await watched.cache.get_or_set_many(KEYS, loader, STALE) == [0, 10, 20, 30, 40]
        assert len(loader.asked) == 2

    async def test_while_valkey_is_down_all_are_loaded(
        self, dead_client: ValkeyClient, loader: Loader
    ) -> None:
        watched = Watched(dead_client)
        assert await watched.cache.get_or_set_many(KEYS, loader, MINUTE, ("t",)) == [0, 10, 20, 30, 40]
        assert (loader.asked, watched.events) == ([tuple(KEYS)], {"bypass": 5})
