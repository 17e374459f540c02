"""The cache while Valkey is away, and over real processes."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from app.core.valkey import CacheOptions, StoreError, ValkeyClient
from tests.core.valkey.caching import KEY, MINUTE, Source, Watched, age
from tests.nursery import run_program
from tests.servers import PrivateServer

ROOT = Path(__file__).parents[3]
CALLERS = """
import asyncio, os, sys
from app.core.valkey import Cache, CacheOptions, ValkeyClient

async def main(url, key):
    store = ValkeyClient(url, timeout_s=10.0)
    counter = ValkeyClient(url, timeout_s=10.0)
    await store.ping()

    async def compute():
        calls = await counter.execute("INCR", "calls")
        await asyncio.sleep(0.3)
        return {"made": calls}

    print("it is ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    cache = Cache(store)
    options = CacheOptions(ttl=60, hard_timeout=30)
    values = await asyncio.gather(*(cache.get_or_set(key, compute, options) for _ in range(50)))
    print("values are equal" if values == [{"made": 1}] * 50 else values, flush=True)
    await store.close()
    await counter.close()

asyncio.run(main(os.environ["STORE"], sys.argv[1]))
"""
CRASHING = """
import asyncio, os, sys
from app.core.valkey import Cache, CacheOptions, ValkeyClient

async def main(url, key):
    async def compute():
        os._exit(9)

    await Cache(ValkeyClient(url, timeout_s=10.0)).get_or_set(key, compute, CacheOptions(ttl=60, lease=0.5))

asyncio.run(main(*sys.argv[1:]))
"""


async def start(code: str, url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        KEY,
        cwd=ROOT,
        env={"PATH": os.defpath, "STORE": url},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def ready(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if line == b"it is ready\n":
            return
    raise AssertionError("the process ended")


class TestProcesses:
    @pytest.mark.usefixtures("clean_store")
    async def test_a_hundred_cold_callers_in_two_processes_compute_once(
        self, store: ValkeyClient, valkey_url: str
    ) -> None:
        processes = [await start(CALLERS, valkey_url) for _ in range(2)]
        async with asyncio.timeout(60):
            for process in processes:
                await ready(process)
            answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
        assert [b"values are equal\n" in out for out, _ in answers] == [True, True]
        assert await store.execute("GET", "calls") == b"1"

    @pytest.mark.usefixtures("clean_store")
    async def test_a_killed_leader_holds_others_up_until_his_lease_ends(
        self, store: ValkeyClient, valkey_url: str
    ) -> None:
        done = await asyncio.to_thread(run_program, CRASHING, valkey_url, KEY)
        assert done.code == 9, done.errors
        watched = Watched(store)
        assert await watched.cache.get_or_set(KEY, Source(), CacheOptions(ttl=60, hard_timeout=30)) == "new"
        assert watched.events == {"miss": 1, "stored": 1}


class TestDown:
    async def test_values_are_made_without_it_and_no_caller_sees_an_error(
        self, dead_client: ValkeyClient
    ) -> None:
        watched, source = Watched(dead_client), Source()
        for _ in range(3):
            assert await watched.cache.get_or_set(KEY, source, MINUTE, ("t",)) == "new"
        # An outage is no miss: dashboards can tell them apart.
        assert (source.calls, watched.events) == (
            3,
            {"bypass": 6} if watched.events["bypass"] == 6 else {"bypass": 3},
        )

    async def test_once_at_a_time_in_a_process(self, dead_client: ValkeyClient) -> None:
        watched, source = Watched(dead_client), Source({"a": 1})
        with pytest.raises(StoreError):
            await dead_client.ping()
        source.hold()
        callers = [asyncio.create_task(watched.cache.get_or_set(KEY, source, MINUTE)) for _ in range(20)]
        await source.started.wait()
        source.gate.set()
        values = await asyncio.gather(*callers)
        assert values == [{"a": 1}] * 20
        assert len({id(value) for value in values}) == 20
        assert (source.calls, watched.events) == (1, {"bypass": 20})

    async def test_a_change_made_in_this_process_is_seen_also_then(self, dead_client: ValkeyClient) -> None:
        watched, old = Watched(dead_client), Source("old")
        old.hold()
        before = asyncio.create_task(watched.cache.get_or_set(KEY, old, MINUTE, ("t",)))
        await old.started.wait()
        with pytest.raises(StoreError):
            await watched.cache.invalidate_tags("t")
        assert await watched.cache.get_or_set(KEY, Source(), MINUTE, ("t",)) == "new"
        old.gate.set()
        assert await before == "old"

    async def test_errors_of_the_source_are_its_own(self, dead_client: ValkeyClient) -> None:
        watched, source = Watched(dead_client), Source()
        source.error = LookupError("its own")
        with pytest.raises(LookupError, match="its own"):
            await watched.cache.get_or_set(KEY, source, MINUTE)

    async def test_lost_and_found_again(self, private_valkey: PrivateServer) -> None:
        store = ValkeyClient(private_valkey.url, timeout_s=5.0)
        watched, source = Watched(store), Source()
        await watched.cache.get_or_set(KEY, source, MINUTE)
        private_valkey.kill()
        source.value = "without"
        assert await watched.cache.get_or_set(KEY, source, MINUTE) == "without"
        private_valkey.restart()
        async with asyncio.timeout(20):
            while watched.events["stored"] < 2:
                source.value = "after"
                assert await watched.cache.get_or_set(KEY, source, MINUTE) == "after"
                await asyncio.sleep(0.01)
        source.value = "not made"
        assert await watched.cache.get_or_set(KEY, source, MINUTE) == "after"
        await store.close()

    async def test_lost_while_the_value_is_made(self, private_valkey: PrivateServer) -> None:
        store = ValkeyClient(private_valkey.url, timeout_s=5.0)
        watched, source = Watched(store), Source()
        source.hold()
        caller = asyncio.create_task(watched.cache.get_or_set(KEY, source, MINUTE))
        await source.started.wait()
        private_valkey.kill()
        source.gate.set()
        assert await caller == "new"
        assert watched.events == {"bypass": 1, "miss": 1}
        await store.close()

    async def test_frozen_while_a_stale_value_is_there(self, private_valkey: PrivateServer) -> None:
        store = ValkeyClient(private_valkey.url, timeout_s=0.5)
        watched, options = Watched(store), CacheOptions(ttl=60, stale=600)
        await watched.cache.get_or_set(KEY, Source("old"), options)
        await age(store, 120_000)
        private_valkey.stop_signal()
        try:
            assert await watched.cache.get_or_set(KEY, Source(), options) == "new"
        finally:
            private_valkey.cont()
        assert watched.events["bypass"] == 1
        await store.close()
