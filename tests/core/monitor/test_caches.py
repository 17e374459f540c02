"""PostgreSQL's buffers between two looks, our own caches, and Valkey."""

from collections.abc import AsyncIterator

import pytest

from app.core.db import Database
from app.core.monitor import Blocks, BufferCacheWatch, MonitorServer, OwnCaches, store_state
from app.core.observability import CacheEvent, EventHub, PolicyEvent
from app.core.resilience import ManualClock
from app.core.valkey import StoreError, ValkeyClient
from tests.servers import PrivateServer

READ = "SELECT count(*) FROM buffered"
FLUSH = "SELECT pg_stat_force_next_flush()"


@pytest.fixture(scope="module", autouse=True)
async def buffered(database: Database) -> AsyncIterator[None]:
    async with database.connect() as connection:
        await connection.exec_driver_sql("CREATE TABLE buffered AS SELECT generate_series(1, 5000) AS id")
        yield
        await connection.exec_driver_sql("DROP TABLE buffered")


async def read(database: Database) -> None:
    async with database.connect() as connection:
        await connection.exec_driver_sql(READ)
        await connection.exec_driver_sql(FLUSH)


class TestBufferCacheWatch:
    async def test_the_second_look_shows_what_came_after_the_first(
        self, server: MonitorServer, database: Database
    ) -> None:
        clock = ManualClock()
        watch = BufferCacheWatch(clock)
        await read(database)
        first = await server.put(watch.look)
        assert not first.is_window
        assert first.findings == ()
        assert first.heap.hits + first.heap.reads > 20

        clock.advance(60)
        async with server.ask() as asked:
            still = await watch.look(asked)
        before = sum(each.hits + each.reads for each in still.tables if each.table == "public.buffered")
        await read(database)
        async with server.ask() as asked:
            second = await watch.look(asked, warn_percent=101.0, reads_a_minute=-1.0)
        after = next(each for each in second.tables if each.table == "public.buffered")
        assert (second.is_window, second.seconds) == (True, 60.0)
        assert after.hits + after.reads - before >= 23
        assert second.heap.hits + second.heap.reads >= 23
        assert [finding.check for finding in second.findings] == ["cache.buffers"]
        if (await server.facts()).version >= 160_000:
            assert {"normal", "bulkread"} <= set(second.contexts)

    async def test_the_window_stays_between_five_and_ten_minutes(self, server: MonitorServer) -> None:
        clock = ManualClock()
        watch = BufferCacheWatch(clock)
        seen = []
        for _ in range(8):
            seen.append((await server.put(watch.look)).seconds)
            clock.advance(200)
        assert seen[1:] == [200, 400, 600, 800, 600, 800, 600]

    def test_a_rate_of_nothing_is_none(self) -> None:
        assert Blocks(0, 0).hit_percent is None
        assert Blocks(3, 1).hit_percent == 75.0


class TestOwnCaches:
    def test_values_and_answers_are_counted_by_name(self) -> None:
        hub = EventHub()
        caches = OwnCaches(hub)
        for kind in ("miss", "stored", "hit", "wait", "stale", "bypass"):
            hub.emit(CacheEvent(kind, "query"))
        for verdict in ("admitted", "hit", "hit", "admitted", "limited"):
            hub.emit(PolicyEvent("records_get", verdict))
        hub.emit(PolicyEvent("never_cached", "admitted"))
        query, records = caches.read()
        assert (query.name, query.kind, query.asked, query.served, query.hit_percent) == (
            "query",
            "values",
            5,
            3,
            60.0,
        )
        assert query.events["stored"] == 1
        assert (records.name, records.kind, records.asked, records.served) == ("records_get", "answers", 4, 2)

    def test_names_are_bounded(self) -> None:
        hub = EventHub()
        caches = OwnCaches(hub)
        for number in range(600):
            hub.emit(CacheEvent("hit", f"cache{number}"))
            hub.emit(PolicyEvent(f"policy{number}", "hit"))
        assert len(caches.read()) == 1000


class TestStoreState:
    async def test_valkey_tells_of_itself(self, store: ValkeyClient, clean_store: None) -> None:
        await store.execute("SET", "k", "v")
        found = await store_state(store)
        assert (found.keys, found.memory > 0, found.clients > 0, found.saves) == (1, True, True, True)
        assert found.version.split(".")[0].isdigit()
        assert found.findings == ()

    async def test_memory_near_its_limit_is_found(self, private_valkey: PrivateServer) -> None:
        client = ValkeyClient(private_valkey.url, timeout_s=5.0)
        used = (await store_state(client)).memory
        await client.execute("CONFIG", "SET", "maxmemory", used * 4)
        try:
            refused = await store_state(client, warn_percent=10.0)
            await client.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
            evicting = await store_state(client, warn_percent=10.0)
            assert (await store_state(client, warn_percent=90.0)).findings == ()
        finally:
            await client.close()
        assert [(each.check, each.severity) for each in refused.findings] == [("valkey.memory", "critical")]
        assert [(each.check, each.severity) for each in evicting.findings] == [("valkey.memory", "warning")]

    async def test_no_answer_is_an_outage(self) -> None:
        client = ValkeyClient("valkey://127.0.0.1:1", timeout_s=0.5)
        with pytest.raises(StoreError):
            await store_state(client)
        await client.close()
