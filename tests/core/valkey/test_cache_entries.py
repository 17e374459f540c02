import asyncio

import pytest

from app.core.valkey import Cache, Entry, StoreError, ValkeyClient, tag_key
from tests.core.valkey.caching import KEY, age

pytestmark = pytest.mark.usefixtures("clean_store")
LEASE = f"{KEY}:l"


@pytest.fixture
def cache(store: ValkeyClient) -> Cache:
    return Cache(store, rng=lambda: 0.5)


async def keep(
    cache: Cache,
    payload: bytes = b"1",
    *,
    ttl_ms: int = 60_000,
    stale_ms: int = 60_000,
    tags: tuple[str, ...] = (),
) -> bool:
    seen = await cache.lookup(KEY, tags)
    return await cache.store(
        cache.put(KEY, payload, ttl_ms=ttl_ms, stale_ms=stale_ms, delta_ms=5, versions=seen.versions),
        token=None,
    )


class TestStore:
    async def test_an_entry_comes_back_with_its_times_and_a_life(
        self, cache: Cache, store: ValkeyClient
    ) -> None:
        payload = b"a\nb\x00\xff"
        assert await keep(cache, payload, ttl_ms=1_000, stale_ms=2_000)
        seen = await cache.lookup(KEY)
        assert seen.entry is not None
        assert seen.is_fresh
        assert not seen.is_leased
        assert (seen.entry.fresh - seen.entry.created, seen.entry.stale - seen.entry.fresh) == (1_000, 2_000)
        assert (seen.entry.delta, seen.entry.payload, seen.versions) == (5, payload, "-")
        assert 0 < await store.execute("PTTL", KEY) <= 3_001

    @pytest.mark.parametrize(("number", "ttl"), [(0.0, 9_000), (0.5, 10_000), (1 - 2**-53, 11_000)])
    async def test_lives_are_spread(self, store: ValkeyClient, number: float, ttl: int) -> None:
        cache = Cache(store, rng=lambda: number)
        await keep(cache, ttl_ms=10_000)
        entry = (await cache.lookup(KEY)).entry
        assert entry is not None
        assert entry.fresh - entry.created == ttl

    async def test_only_the_leader_stores_and_his_lease_ends(self, cache: Cache, store: ValkeyClient) -> None:
        assert (await cache.take_lease(KEY, "leader", 10_000, "-")).is_ours
        assert not await keep(cache)
        for token, stored in (("other", False), ("leader", True), ("leader", False)):
            done = await cache.store(
                cache.put(KEY, token.encode(), ttl_ms=9, stale_ms=9, delta_ms=0, versions="-"), token=token
            )
            assert done is stored
        assert await store.execute("EXISTS", LEASE) == 0

    async def test_gone_is_not_shown(self, cache: Cache, store: ValkeyClient) -> None:
        await keep(cache)
        await age(store, 60_001)
        seen = await cache.lookup(KEY)
        assert seen.entry is not None
        assert not seen.is_fresh
        await age(store, 60_000)
        assert (await cache.lookup(KEY)).entry is None

    async def test_a_value_that_is_no_entry_counts_as_missing(
        self, cache: Cache, store: ValkeyClient
    ) -> None:
        await store.execute("SET", KEY, "nonsense")
        assert (await cache.lookup(KEY)).entry is None


class TestLease:
    async def test_one_at_a_time_with_a_life(self, cache: Cache, store: ValkeyClient) -> None:
        assert (await cache.take_lease(KEY, "a", 10_000, "-")).is_ours
        second = await cache.take_lease(KEY, "b", 10_000, "-")
        assert not second.is_ours
        assert second.is_leased
        assert 0 < await store.execute("PTTL", LEASE) <= 10_000
        assert not await cache.release(KEY, "b")
        assert await cache.release(KEY, "a")
        assert (await cache.take_lease(KEY, "b", 10_000, "-")).is_ours

    async def test_tells_what_was_stored_meanwhile(self, cache: Cache) -> None:
        await keep(cache, b"stored")
        seen = await cache.take_lease(KEY, "a", 10_000, "-")
        assert seen.entry is not None
        assert seen.entry.payload == b"stored"


class TestThrottle:
    async def test_a_stale_entry_counts_as_fresh_but_does_not_live_longer(
        self, cache: Cache, store: ValkeyClient
    ) -> None:
        await keep(cache, b"a\nb")
        await age(store, 60_000)
        before = (await cache.take_lease(KEY, "a", 10_000, "-")).entry
        assert await cache.throttle(KEY, "a", 30_000)
        seen = await cache.lookup(KEY)
        assert seen.is_fresh
        assert not seen.is_leased
        assert before is not None
        assert seen.entry is not None
        assert seen.entry == before._replace(fresh=seen.entry.fresh)
        assert 25_000 < seen.entry.fresh - seen.now_ms <= 30_000
        assert await store.execute("PTTL", KEY) > 0

    async def test_not_beyond_its_end(self, cache: Cache, store: ValkeyClient) -> None:
        await keep(cache)
        await age(store, 100_000)
        await cache.take_lease(KEY, "a", 10_000, "-")
        assert await cache.throttle(KEY, "a", 30_000)
        entry = Entry.parse(await store.execute("GET", KEY))
        assert entry.fresh == entry.stale

    async def test_not_without_the_lease_nor_without_an_entry(
        self, cache: Cache, store: ValkeyClient
    ) -> None:
        await cache.take_lease(KEY, "a", 10_000, "-")
        assert not await cache.throttle(KEY, "b", 30_000)
        assert not await cache.throttle(KEY, "a", 30_000)
        assert await store.execute("EXISTS", KEY, LEASE) == 0


class TestTags:
    async def test_an_invalidation_ends_entries_with_the_tag_and_no_others(self, cache: Cache) -> None:
        await keep(cache, tags=("a", "b"))
        assert (await cache.lookup(KEY, ("a", "b"))).is_fresh
        await cache.invalidate_tags("c")
        assert (await cache.lookup(KEY, ("a", "b"))).is_fresh
        await cache.invalidate_tags("b")
        assert (await cache.lookup(KEY, ("a", "b"))).entry is None

    async def test_an_evicted_tag_never_brings_an_entry_back(self, cache: Cache, store: ValkeyClient) -> None:
        await keep(cache, tags=("a",))
        await store.execute("DEL", tag_key("a"))
        assert (await cache.lookup(KEY, ("a",))).entry is None
        assert (await cache.lookup(KEY, ("a",))).entry is None

    async def test_versions_grow_when_the_clock_has_gone_back(
        self, cache: Cache, store: ValkeyClient
    ) -> None:
        future = 4_000_000_000_000_000
        await store.execute("SET", tag_key("a"), future)
        await cache.invalidate_tags("a")
        assert await store.execute("GET", tag_key("a")) == str(future + 1).encode()

    async def test_versions_live_longer_than_entries(self, cache: Cache, store: ValkeyClient) -> None:
        await cache.lookup(KEY, ("read",))
        await cache.invalidate_tags("written")
        for tag in ("read", "written"):
            assert await store.execute("PTTL", tag_key(tag)) > 13 * 86_400_000

    async def test_ending_ten_thousand_entries_is_one_step(self, private_valkey_client: ValkeyClient) -> None:
        cache, store = Cache(private_valkey_client), private_valkey_client
        seen = await cache.lookup(KEY, ("many",))
        keys = [f"{{p:{number}}}:v1:e" for number in range(10_000)]
        for start in range(0, len(keys), 1_000):
            await asyncio.gather(
                *(
                    cache.store(
                        cache.put(key, b"1", ttl_ms=60_000, stale_ms=0, delta_ms=0, versions=seen.versions),
                        token=None,
                    )
                    for key in keys[start : start + 1_000]
                )
            )
        assert all(found.is_fresh for found in await cache.lookup_many(keys[:1_000], ("many",)))
        await store.execute("CONFIG", "RESETSTAT")
        await cache.invalidate_tags("many")
        stats = (await store.execute("INFO", "commandstats")).decode()
        calls = {
            line.split(":")[0]: int(line.split("calls=")[1].split(",")[0])
            for line in stats.splitlines()
            if "calls=" in line
        }
        calls.pop("cmdstat_config|resetstat", None)
        assert sum(calls.values()) <= 5  # the script (perhaps sent twice, to load it), TIME, GET, SET
        assert calls["cmdstat_set"] == 1
        for start in range(0, len(keys), 1_000):
            assert not any(
                found.entry for found in await cache.lookup_many(keys[start : start + 1_000], ("many",))
            )

    async def test_an_error_is_told(self, dead_client: ValkeyClient) -> None:
        with pytest.raises(StoreError):
            await Cache(dead_client).invalidate_tags("a")


class TestWaitFor:
    async def test_wakes_at_once_when_the_leader_is_in_this_process(
        self, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The poll that stands in for a leader that cannot tell comes too late here.
        monkeypatch.setattr("app.core.valkey._cache_entries._POLL_OF_OUR_OWN_S", 3600.0)
        await cache.take_lease(KEY, "a", 3_600_000, "-")
        cache.announce(KEY, 3_600_000)
        waits = [asyncio.create_task(cache.wait_for(KEY, (), 3600)) for _ in range(20)]
        await asyncio.sleep(0)
        await cache.store(
            cache.put(KEY, b"done", ttl_ms=60_000, stale_ms=0, delta_ms=0, versions="-"), token="a"
        )
        async with asyncio.timeout(60):
            entries = await asyncio.gather(*waits)
        assert [entry.payload for entry in entries if entry is not None] == [b"done"] * 20

    async def test_sees_what_another_process_stores(self, cache: Cache, store: ValkeyClient) -> None:
        await cache.take_lease(KEY, "a", 10_000, "-")
        wait = asyncio.create_task(cache.wait_for(KEY, (), 10))
        await Cache(store).store(
            cache.put(KEY, b"done", ttl_ms=60_000, stale_ms=0, delta_ms=0, versions="-"), token="a"
        )
        entry = await wait
        assert entry is not None
        assert entry.payload == b"done"

    async def test_ends_when_the_lease_is_given_up_has_ended_or_the_time_is_over(
        self, cache: Cache, store: ValkeyClient
    ) -> None:
        await cache.take_lease(KEY, "a", 10_000, "-")
        assert await cache.wait_for(KEY, (), 0.02) is None
        wait = asyncio.create_task(cache.wait_for(KEY, (), 10))
        await Cache(store).release(KEY, "a")
        assert await wait is None
        await cache.take_lease(KEY, "b", 30, "-")
        assert await cache.wait_for(KEY, (), 10) is None

    async def test_what_was_computed_before_an_invalidation_is_not_taken(
        self, cache: Cache, store: ValkeyClient
    ) -> None:
        seen = await cache.lookup(KEY, ("t",))
        await cache.take_lease(KEY, "a", 10_000, seen.versions)
        await cache.invalidate_tags("t")
        wait = asyncio.create_task(cache.wait_for(KEY, ("t",), 10))
        await Cache(store).store(
            cache.put(KEY, b"old", ttl_ms=60_000, stale_ms=0, delta_ms=0, versions=seen.versions), token="a"
        )
        assert await wait is None

    async def test_announcements_are_forgotten_with_their_leases(self, cache: Cache) -> None:
        for number in range(100):
            cache.announce(f"{{p:{number}}}:v1:e", -1)
        cache.announce(KEY)
        assert list(cache._announced) == [KEY]
