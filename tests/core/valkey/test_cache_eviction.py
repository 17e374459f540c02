"""The cache on a server that is full, under each of Valkey's ways to make room; and its scripts in a cluster."""

import pytest

from app.core.valkey import Cache, CacheOptions, ValkeyClient, tag_key
from tests.core.valkey.caching import KEY, MINUTE, Source, Watched, until_free

POLICIES = [
    "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "noeviction",
]  # fmt: skip
ROUNDS = 4
KEYS = 300


async def info(store: ValkeyClient, section: str, field: str) -> int:
    text = (await store.execute("INFO", section)).decode()
    return int(text.partition(f"\r\n{field}:")[2].partition("\r\n")[0])


class Truth:
    """The data behind the cache, and a tag for each group of ten."""

    def __init__(self) -> None:
        self.versions = [0] * KEYS

    async def read(self, watched: Watched, number: int) -> str:
        async def make() -> str:
            return f"{number} is {self.versions[number]} " + "x" * 4_000

        value = await watched.cache.get_or_set(
            f"{{p:{number}}}:v1:e", make, MINUTE, (f"group:{number // 10}", "all")
        )
        assert isinstance(value, str)
        return value

    async def change(self, watched: Watched, number: int) -> None:
        for member in range(number // 10 * 10, number // 10 * 10 + 10):
            self.versions[member] += 1
        await watched.cache.invalidate_tags(f"group:{number // 10}")


@pytest.mark.parametrize("policy", POLICIES)
class TestFull:
    @pytest.fixture
    async def full(self, policy: str, private_valkey_client: ValkeyClient) -> ValkeyClient:
        """A server with room for about a third of what will be stored."""
        used = await info(private_valkey_client, "memory", "used_memory")
        await private_valkey_client.execute("CONFIG", "SET", "maxmemory", used + 450_000)
        await private_valkey_client.execute("CONFIG", "SET", "maxmemory-policy", policy)
        return private_valkey_client

    async def test_never_fails_never_shows_old_data_and_works_afterwards(
        self, full: ValkeyClient, policy: str
    ) -> None:
        watched, truth = Watched(full), Truth()
        for turn in range(ROUNDS):
            for number in range(KEYS):
                if number % 37 == turn:
                    await truth.change(watched, number)
                assert (await truth.read(watched, number)).startswith(
                    f"{number} is {truth.versions[number]} "
                )
        if policy == "noeviction":
            assert watched.events["bypass"] > 0
            assert await info(full, "stats", "evicted_keys") == 0
        else:
            assert await info(full, "stats", "evicted_keys") > KEYS / 2
            assert watched.events["bypass"] == 0
        await full.execute("FLUSHALL", "SYNC")
        assert "x" in await truth.read(watched, 1)
        hits = watched.events["hit"]
        await truth.read(watched, 1)
        assert watched.events["hit"] == hits + 1

    async def test_an_invalidation_gets_through_and_evicted_tags_bring_nothing_back(
        self, full: ValkeyClient, policy: str
    ) -> None:
        watched, truth = Watched(full), Truth()
        await truth.read(watched, 5)
        for number in range(KEYS):
            await truth.read(watched, number)
        await truth.change(watched, 5)
        assert (await truth.read(watched, 5)).startswith("5 is 1 ")
        for tag in ("group:0", "all"):
            await full.execute("DEL", tag_key(tag))
        truth.versions[5] = 2
        assert (await truth.read(watched, 5)).startswith("5 is 2 ")


class TestNoEviction:
    async def test_what_was_stored_before_is_shown_while_it_is_full(
        self, private_valkey_client: ValkeyClient
    ) -> None:
        watched, source = Watched(private_valkey_client), Source()
        await watched.cache.get_or_set(KEY, source, MINUTE, ("t",))
        await private_valkey_client.execute("CONFIG", "SET", "maxmemory", 1)
        assert await watched.cache.get_or_set(KEY, source, MINUTE, ("t",)) == "new"
        assert source.calls == 1
        await watched.cache.invalidate_tags("t")
        source.value = "newer"
        assert await watched.cache.get_or_set(KEY, source, MINUTE, ("t",)) == "newer"
        assert watched.events["bypass"] == 1

    async def test_a_lease_is_given_up_when_the_server_filled_meanwhile(
        self, private_valkey_client: ValkeyClient
    ) -> None:
        watched, store = Watched(private_valkey_client), private_valkey_client

        async def make() -> str:
            await store.execute("CONFIG", "SET", "maxmemory", 1)
            return "made"

        assert await watched.cache.get_or_set(KEY, make, CacheOptions(ttl=60)) == "made"
        await until_free(store)
        await store.execute("CONFIG", "SET", "maxmemory", 0)
        assert await watched.cache.get_or_set(KEY, Source("after"), MINUTE) == "after"


class TestCluster:
    async def test_no_script_needs_two_slots_or_an_undeclared_key(self, cluster: ValkeyClient) -> None:
        watched, source = Watched(cluster), Source()
        for _ in range(2):
            assert await watched.cache.get_or_set(KEY, source, MINUTE, ("a", "b")) == "new"
        assert source.calls == 1
        await watched.cache.invalidate_tags("a", "b")
        assert await watched.cache.get_or_set(KEY, Source("newer"), MINUTE, ("a", "b")) == "newer"
        await watched.cache.take_lease(KEY, "x", 1_000, "-")
        await watched.cache.throttle(KEY, "x", 1_000)
        await watched.cache.take_lease(KEY, "x", 1_000, "-")
        assert await watched.cache.release(KEY, "x")
        await watched.cache.delete(KEY, "{p:other}:v1:e")
        assert await Cache(cluster).lookup_many([KEY, "{p:other}:v1:e"], ("a", "b"))
        assert watched.events["bypass"] == 0
