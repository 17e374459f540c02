"""The state machine of one value, on a real Valkey."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from app.core.errors import ConfigurationError, EntityNotFoundError, PolicyRejected
from app.core.observability import EventHub, Metrics
from app.core.resilience import ManualClock
from app.core.valkey import Cache, CacheOptions, Entry, Seen, ValkeyClient
from tests.core.valkey.caching import KEY, MINUTE, Overtaken, Source, Watched, age, until, until_free

pytestmark = pytest.mark.usefixtures("clean_store")
STALE = CacheOptions(ttl=60, stale=600, soft_timeout=0.02)


@pytest.fixture
def watched(store: ValkeyClient) -> Watched:
    return Watched(store)


async def let_run(flights: int = 1) -> None:
    for _ in range(20 * flights):
        await asyncio.sleep(0)


class TestFresh:
    async def test_is_made_once_and_then_shown(self, watched: Watched) -> None:
        source = Source({"a": [1, None, "ä"]})
        assert [await watched.cache.get_or_set(KEY, source, MINUTE) for _ in range(3)] == [source.value] * 3
        assert source.calls == 1
        assert watched.events == {"miss": 1, "stored": 1, "hit": 2}

    async def test_metrics_count_by_the_caches_name(self, store: ValkeyClient) -> None:
        hub, metrics = EventHub(), Metrics()
        metrics.subscribe(hub)
        for _ in range(2):
            await Cache(store, hub=hub).get_or_set(KEY, Source(), CacheOptions(ttl=60, name="records"))
        exposed = metrics.exposition().decode()
        for kind in ("miss", "stored", "hit"):
            assert f'gatehouse_cache_events_total{{cache="records",kind="{kind}"}} 1.0' in exposed

    async def test_a_hit_is_one_call_for_the_entry_and_one_for_each_tag(
        self, private_valkey_client: ValkeyClient
    ) -> None:
        cache = Cache(private_valkey_client)
        await cache.get_or_set(KEY, Source(), MINUTE, ("a", "b"))
        before = await _commands(private_valkey_client)
        await cache.get_or_set(KEY, Source(), MINUTE, ("a", "b"))
        # The fourth is the INFO that counts them.
        assert await _commands(private_valkey_client) - before == 4

    async def test_our_own_clock_does_not_matter(self, store: ValkeyClient) -> None:
        source = Source()
        for start in (0.0, 5e9, 1.0):
            assert await Cache(store, clock=ManualClock(start)).get_or_set(KEY, source, MINUTE) == "new"
        assert source.calls == 1

    async def test_the_order_of_tags_does_not_matter(self, watched: Watched) -> None:
        source = Source()
        for tags in (("a", "b"), ("b", "a"), ("a", "b", "a")):
            await watched.cache.get_or_set(KEY, source, MINUTE, tags)
        assert source.calls == 1


async def _commands(store: ValkeyClient) -> int:
    stats = (await store.execute("INFO", "commandstats")).decode()
    lines = [
        line
        for line in stats.splitlines()
        if line.startswith(("cmdstat_evalsha:", "cmdstat_info:", "cmdstat_eval:"))
    ]
    return sum(int(line.split("calls=")[1].split(",")[0]) for line in lines)


class TestGone:
    async def test_a_hundred_callers_make_it_once(self, watched: Watched) -> None:
        source = Source()
        source.hold()
        callers = [asyncio.create_task(watched.cache.get_or_set(KEY, source, MINUTE)) for _ in range(100)]
        await source.started.wait()
        source.gate.set()
        assert await asyncio.gather(*callers) == ["new"] * 100
        assert source.calls == 1
        assert watched.events == {"miss": 1, "stored": 1, "wait": 99}

    async def test_callers_do_not_share_what_they_may_change(self, watched: Watched) -> None:
        source = Source({"list": [1]})
        source.hold()
        callers = [asyncio.create_task(watched.cache.get_or_set(KEY, source, MINUTE)) for _ in range(3)]
        await source.started.wait()
        source.gate.set()
        values = await asyncio.gather(*callers)
        values[0]["list"].append(2)
        assert values[1:] == [{"list": [1]}] * 2

    async def test_another_process_makes_it_once_too(
        self, store: ValkeyClient, watched: Watched, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, other, waits = Source(), Watched(store), asyncio.Event()
        follow = other.cache.follow

        async def followed(*args: Any) -> Seen:
            waits.set()
            return await follow(*args)

        monkeypatch.setattr(other.cache, "follow", followed)
        source.hold()
        first = asyncio.create_task(watched.cache.get_or_set(KEY, source, MINUTE))
        await source.started.wait()
        second = asyncio.create_task(other.cache.get_or_set(KEY, source, MINUTE))
        await waits.wait()
        source.gate.set()
        assert (await first, await second) == ("new", "new")
        assert source.calls == 1
        assert other.events == {"wait": 1}

    async def test_who_waits_too_long_makes_it_himself(self, store: ValkeyClient, watched: Watched) -> None:
        options = CacheOptions(ttl=60, hard_timeout=0.05, lease=60)
        hanging, own = Source("late"), Source("own")
        hanging.hold()
        leader = asyncio.create_task(watched.cache.get_or_set(KEY, hanging, options))
        await hanging.started.wait()
        assert await watched.cache.get_or_set(KEY, own, options) == "own"
        assert await Cache(store).get_or_set(KEY, own, options) == "own"
        assert (hanging.calls, own.calls) == (1, 2)
        hanging.gate.set()
        assert await leader == "late"

    async def test_when_a_leader_crashes_the_next_takes_over_at_the_end_of_his_lease(
        self, watched: Watched, store: ValkeyClient
    ) -> None:
        await watched.cache.take_lease(KEY, "crashed", 100, "-")
        source = Source()
        assert await watched.cache.get_or_set(KEY, source, MINUTE) == "new"
        assert watched.events == {"miss": 1, "stored": 1}
        assert await store.execute("EXISTS", f"{KEY}:l") == 0

    async def test_who_lost_his_lease_does_not_store(self, watched: Watched, store: ValkeyClient) -> None:
        source = Source()
        source.hold()
        caller = asyncio.create_task(watched.cache.get_or_set(KEY, source, MINUTE))
        await source.started.wait()
        await store.execute("DEL", f"{KEY}:l")
        source.gate.set()
        assert await caller == "new"
        assert watched.events["lost"] == 1
        assert await store.execute("EXISTS", KEY) == 0

    async def test_a_hanging_leader_does_not_hold_up_callers_for_ever(self, watched: Watched) -> None:
        options = CacheOptions(ttl=60, hard_timeout=0.02, lease=0.02)
        hanging = Source()
        hanging.hold()
        leader = asyncio.create_task(watched.cache.get_or_set(KEY, hanging, options))
        await hanging.started.wait()
        await until(lambda: _is_landed(watched.cache))
        quick = Source("quick")
        assert await watched.cache.get_or_set(KEY, quick, MINUTE) == "quick"
        assert await watched.cache.get_or_set(KEY, quick, MINUTE) == "quick"
        assert quick.calls == 1
        hanging.gate.set()
        assert await leader == "new"
        assert await watched.cache.get_or_set(KEY, quick, MINUTE) == "quick"


async def _is_landed(cache: Cache) -> bool:
    return not cache._flights._known


class TestOvertaken:
    @pytest.mark.parametrize("is_stale", [False, True])
    async def test_what_was_stored_meanwhile_is_shown_and_the_lease_given_up(
        self, store: ValkeyClient, is_stale: bool
    ) -> None:
        if is_stale:
            await Cache(store).get_or_set(KEY, Source("old"), STALE)
            await age(store, 120_000)
        source = Source()
        assert (
            await Overtaken(store, (KEY,)).get_or_set(KEY, source, CacheOptions(ttl=60, soft_timeout=5))
            == "theirs"
        )
        assert source.calls == 0
        await until_free(store)


class TestCancelled:
    async def test_followers_are_not_touched_when_the_leader_goes(self, watched: Watched) -> None:
        source = Source()
        source.hold()
        leader = asyncio.create_task(watched.cache.get_or_set(KEY, source, MINUTE))
        await source.started.wait()
        followers = [asyncio.create_task(watched.cache.get_or_set(KEY, source, MINUTE)) for _ in range(3)]
        await until(lambda: _has_waiters(watched.cache, 4))
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        source.gate.set()
        assert await asyncio.gather(*followers) == ["new"] * 3
        assert source.calls == 1

    async def test_work_that_fails_because_its_caller_is_gone_is_done_again(self, watched: Watched) -> None:
        """His database session is closed, for instance."""
        first, second = Source(), Source("second")
        first.hold()
        first.error = RuntimeError("session is closed")
        leader = asyncio.create_task(watched.cache.get_or_set(KEY, first, MINUTE))
        await first.started.wait()
        follower = asyncio.create_task(watched.cache.get_or_set(KEY, second, MINUTE))
        await until(lambda: _has_waiters(watched.cache, 2))
        leader.cancel()
        await asyncio.wait({leader})
        first.gate.set()
        assert await follower == "second"

    async def test_alone_the_work_ends_with_its_caller_and_gives_the_lease_up(
        self, watched: Watched, store: ValkeyClient
    ) -> None:
        source = Source()
        source.hold()
        caller = asyncio.create_task(watched.cache.get_or_set(KEY, source, MINUTE))
        await source.started.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert not watched.cache._flights._tasks
        source.gate.set()
        assert await watched.cache.get_or_set(KEY, source, MINUTE) == "new"
        assert source.calls == 2

    async def test_a_follower_that_goes_takes_nobody_with_him(self, watched: Watched) -> None:
        source = Source()
        source.hold()
        leader = asyncio.create_task(watched.cache.get_or_set(KEY, source, MINUTE))
        await source.started.wait()
        follower = asyncio.create_task(watched.cache.get_or_set(KEY, source, MINUTE))
        await until(lambda: _has_waiters(watched.cache, 2))
        follower.cancel()
        with pytest.raises(asyncio.CancelledError):
            await follower
        source.gate.set()
        assert await leader == "new"

    async def test_close_leaves_no_task_behind(self, store: ValkeyClient) -> None:
        cache, source = Cache(store), Source()
        await cache.get_or_set(KEY, Source("old"), STALE)
        await age(store, 120_000)
        source.hold()
        assert await cache.get_or_set(KEY, source, STALE) == "old"
        assert cache._flights._tasks
        await cache.close()
        assert not cache._flights._tasks


async def _has_waiters(cache: Cache, number: int) -> bool:
    return sum(flight.waiters for flight in cache._flights._known.values()) == number


class TestStale:
    async def stale(self, watched: Watched, store: ValkeyClient, options: CacheOptions = STALE) -> None:
        await watched.cache.get_or_set(KEY, Source("old"), options)
        await age(store, 120_000)
        watched.events.clear()

    async def test_a_quick_new_value_is_shown_at_once(self, watched: Watched, store: ValkeyClient) -> None:
        await self.stale(watched, store)
        assert (
            await watched.cache.get_or_set(KEY, Source(), CacheOptions(ttl=60, stale=600, soft_timeout=5))
            == "new"
        )
        assert watched.events == {"refresh": 1, "stored": 1, "miss": 1}

    async def test_after_the_soft_timeout_the_old_one_and_later_the_new(
        self, watched: Watched, store: ValkeyClient
    ) -> None:
        await self.stale(watched, store)
        source = Source()
        source.hold()
        old = await asyncio.gather(*(watched.cache.get_or_set(KEY, source, STALE) for _ in range(10)))
        assert old == ["old"] * 10
        assert watched.events == {"refresh": 1, "stale": 10}
        source.gate.set()
        await until(lambda: _is_landed(watched.cache))
        assert await watched.cache.get_or_set(KEY, source, STALE) == "new"
        assert source.calls == 1

    async def test_while_another_process_makes_it_nobody_waits(
        self, watched: Watched, store: ValkeyClient
    ) -> None:
        await self.stale(watched, store)
        await watched.cache.take_lease(KEY, "another", 10_000, "-")
        patient = CacheOptions(ttl=60, stale=600, soft_timeout=60)
        assert await asyncio.wait_for(watched.cache.get_or_set(KEY, Source(), patient), 5) == "old"
        assert watched.events == {"stale": 1}

    async def test_an_error_is_hidden_and_the_source_left_in_peace(
        self, watched: Watched, store: ValkeyClient
    ) -> None:
        await self.stale(watched, store)
        source = Source()
        source.error = OSError("down")
        patient = CacheOptions(ttl=60, stale=600, soft_timeout=5)
        assert [await watched.cache.get_or_set(KEY, source, patient) for _ in range(3)] == ["old"] * 3
        assert source.calls == 1
        assert watched.events == {"refresh": 1, "error": 1, "stale": 1, "hit": 2}
        await age(store, 31_000)
        source.error = None
        assert await watched.cache.get_or_set(KEY, source, patient) == "new"

    async def test_an_answer_is_no_outage(self, watched: Watched, store: ValkeyClient) -> None:
        await self.stale(watched, store)
        source, patient = Source(), CacheOptions(ttl=60, stale=600, soft_timeout=5)
        source.error = EntityNotFoundError()
        for _ in range(2):
            with pytest.raises(EntityNotFoundError):
                await watched.cache.get_or_set(KEY, source, patient)
        assert source.calls == 2

    async def test_a_refusal_for_load_is_no_answer(self, watched: Watched, store: ValkeyClient) -> None:
        await self.stale(watched, store)
        source = Source()
        source.error = PolicyRejected()
        assert (
            await watched.cache.get_or_set(KEY, source, CacheOptions(ttl=60, stale=600, soft_timeout=5))
            == "old"
        )

    async def test_an_invalidated_value_is_never_shown_as_stale(
        self, watched: Watched, store: ValkeyClient
    ) -> None:
        await watched.cache.get_or_set(KEY, Source("old"), STALE, ("t",))
        await watched.cache.invalidate_tags("t")
        source = Source()
        source.error = OSError("down")
        with pytest.raises(OSError, match="down"):
            await watched.cache.get_or_set(KEY, source, STALE, ("t",))

    async def test_without_a_stale_value_all_who_wait_get_the_error(
        self, watched: Watched, store: ValkeyClient
    ) -> None:
        source = Source()
        source.hold()
        source.error = OSError("down")
        callers = [asyncio.create_task(watched.cache.get_or_set(KEY, source, STALE)) for _ in range(5)]
        await until(lambda: _has_waiters(watched.cache, 5))
        source.gate.set()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [OSError] * 5
        assert (source.calls, watched.events) == (1, {"error": 1})
        source.error = None
        assert await watched.cache.get_or_set(KEY, source, STALE) == "new"


class Gated(Cache):
    """Its leases wait until they are let."""

    def __init__(self, store: ValkeyClient) -> None:
        super().__init__(store)
        self.gate = asyncio.Event()

    async def take_lease(self, key: str, token: str, lease_ms: int, versions: str) -> Seen:
        await self.gate.wait()
        return await super().take_lease(key, token, lease_ms, versions)


class TestStaleBecomesGone:
    async def test_who_joined_a_refresh_that_another_process_had_begun_looks_again(
        self, store: ValkeyClient
    ) -> None:
        cache, other, source = Gated(store), Cache(store), Source()
        await other.get_or_set(KEY, Source("old"), STALE)
        await age(store, 120_000)
        await other.take_lease(KEY, "another", 60_000, "-")
        assert await cache.get_or_set(KEY, source, STALE) == "old"
        await age(store, 3_600_000)
        late = asyncio.create_task(cache.get_or_set(KEY, source, STALE))
        await until(lambda: _has_waiters(cache, 1))
        cache.gate.set()
        await until(lambda: _is_other_flight(cache))
        await other.release(KEY, "another")
        assert await late == "new"
        assert source.calls == 1


async def _is_other_flight(cache: Cache) -> bool:
    return any(not flight.outlives for flight in cache._flights._known.values())


async def _as_if_it_took_a_minute(store: ValkeyClient) -> None:
    entry = Entry.parse(await store.execute("GET", KEY))
    head = f"{entry.created} {entry.fresh} {entry.stale} 60000 {entry.versions}\n"
    await store.execute("SET", KEY, head.encode() + entry.payload, "KEEPTTL")


class TestEager:
    async def test_is_shown_and_made_anew_in_the_background(self, store: ValkeyClient) -> None:
        options = CacheOptions(ttl=60, eager=True, jitter=0)
        source, numbers = Source("old"), [0.5]
        watched = Watched(store, rng=lambda: numbers[0])
        await watched.cache.get_or_set(KEY, source, options)
        await _as_if_it_took_a_minute(store)  # with 0.5 it is due 42 s before its end, so at once after 18 s
        await age(store, 10_000)
        assert await watched.cache.get_or_set(KEY, source, options) == "old"
        assert watched.events["refresh"] == 0
        await age(store, 10_000)
        source.value = "new"
        assert (
            await asyncio.gather(*(watched.cache.get_or_set(KEY, source, options) for _ in range(5)))
            == ["old"] * 5
        )
        await until(lambda: _is_landed(watched.cache))
        assert await watched.cache.get_or_set(KEY, source, options) == "new"
        assert (source.calls, watched.events["refresh"]) == (2, 1)

    async def test_a_failure_in_the_background_disturbs_nobody(self, store: ValkeyClient) -> None:
        options = CacheOptions(ttl=60, eager=True, jitter=0)
        watched = Watched(store, rng=lambda: 1 - 2**-53)
        source = Source("old")
        await watched.cache.get_or_set(KEY, source, options)
        await _as_if_it_took_a_minute(store)
        source.error = OSError("down")
        assert await watched.cache.get_or_set(KEY, source, options) == "old"
        await until(lambda: _is_landed(watched.cache))
        assert watched.events["error"] == 1


class TestInvalidation:
    async def test_during_the_computation_is_never_lost(self, watched: Watched) -> None:
        """Who comes after it gets what was made after it, although the older work is still under way and ends later."""
        old, new = Source("old"), Source("new")
        old.hold()
        before = asyncio.create_task(watched.cache.get_or_set(KEY, old, MINUTE, ("t",)))
        await old.started.wait()
        await watched.cache.invalidate_tags("t")
        after = asyncio.create_task(watched.cache.get_or_set(KEY, new, MINUTE, ("t",)))
        await let_run()
        old.gate.set()
        assert await before == "old"
        assert await after == "new"
        assert await watched.cache.get_or_set(KEY, Source("newer"), MINUTE, ("t",)) == "new"

    async def test_by_another_process_during_the_computation(
        self, watched: Watched, store: ValkeyClient
    ) -> None:
        old = Source("old")
        old.hold()
        before = asyncio.create_task(watched.cache.get_or_set(KEY, old, MINUTE, ("t",)))
        await old.started.wait()
        await Cache(store).invalidate_tags("t")
        after = asyncio.create_task(watched.cache.get_or_set(KEY, Source(), MINUTE, ("t",)))
        await let_run()
        old.gate.set()
        assert (await before, await after) == ("old", "new")

    async def test_a_race_of_writers_and_readers_never_shows_old_data(self, store: ValkeyClient) -> None:
        caches = [Cache(store) for _ in range(3)]
        truth = ended = 0
        is_over = False

        async def make() -> int:
            seen = truth
            await asyncio.sleep(0.001)
            return seen

        async def read(cache: Cache) -> int:
            reads = 0
            while not is_over:
                least = ended
                assert await cache.get_or_set(KEY, make, STALE, ("t",)) >= least
                reads += 1
            return reads

        readers = [asyncio.create_task(read(cache)) for cache in caches * 4]
        for number in range(1, 100):
            truth = number
            await caches[number % 3].invalidate_tags("t")
            ended = number  # whoever begins to read from now on must see it
            await asyncio.sleep(0.001 * (number % 4))
        is_over = True
        assert sum(await asyncio.gather(*readers)) > 100

    async def test_delete_keeps_what_is_being_made_from_being_stored(
        self, watched: Watched, store: ValkeyClient
    ) -> None:
        old = Source("old")
        old.hold()
        before = asyncio.create_task(watched.cache.get_or_set(KEY, old, MINUTE))
        await old.started.wait()
        await watched.cache.delete(KEY)
        assert await watched.cache.get_or_set(KEY, Source(), MINUTE) == "new"
        old.gate.set()
        assert await before == "old"
        assert await watched.cache.get_or_set(KEY, Source("newer"), MINUTE) == "new"


class Thing(BaseModel):
    id: int
    at: datetime


class WithAttributes:
    id = 7
    at = datetime(2026, 1, 1, tzinfo=UTC)


class TestValues:
    async def test_none_is_not_kept_unless_asked_for(self, watched: Watched) -> None:
        source = Source(None)
        for _ in range(2):
            assert await watched.cache.get_or_set(KEY, source, MINUTE) is None
        assert (source.calls, watched.events) == (2, {"miss": 2})

    async def test_none_is_kept_for_its_own_time_and_is_no_miss(
        self, watched: Watched, store: ValkeyClient
    ) -> None:
        source, options = Source(None), CacheOptions(ttl=60, stale=600, negative_ttl=5, jitter=0)
        for _ in range(2):
            assert await watched.cache.get_or_set(KEY, source, options, model=Thing) is None
        assert (source.calls, watched.events) == (1, {"miss": 1, "stored": 1, "hit": 1})
        entry = Entry.parse(await store.execute("GET", KEY))
        assert entry.stale - entry.created == 5_000

    async def test_a_falsy_value_is_a_value(self, watched: Watched) -> None:
        for number, value in enumerate((0, "", [], {}, False)):
            source = Source(value)
            key = f"{{p:{number}}}:v1:e"
            assert [await watched.cache.get_or_set(key, source, MINUTE) for _ in range(2)] == [value, value]
            assert source.calls == 1

    async def test_a_pydantic_model_comes_back_as_its_json_data(self, watched: Watched) -> None:
        source = Source([Thing(id=7, at=WithAttributes.at)])
        assert await watched.cache.get_or_set(KEY, source, MINUTE) == source.value
        assert await watched.cache.get_or_set(KEY, source, MINUTE) == [
            {"id": 7, "at": "2026-01-01T00:00:00Z"}
        ]

    @pytest.mark.parametrize(
        "value", [Thing(id=7, at=WithAttributes.at), WithAttributes(), {"id": 7, "at": WithAttributes.at}]
    )
    async def test_with_a_model_every_value_is_one(self, watched: Watched, value: object) -> None:
        source = Source(value)
        for _ in range(2):
            assert await watched.cache.get_or_set(KEY, source, MINUTE, model=Thing) == Thing(
                id=7, at=WithAttributes.at
            )
        assert source.calls == 1

    async def test_an_entry_of_another_model_is_made_anew(self, watched: Watched) -> None:
        await watched.cache.get_or_set(KEY, Source({"name": "other"}), MINUTE)
        source = Source(WithAttributes())
        for _ in range(2):
            assert (await watched.cache.get_or_set(KEY, source, MINUTE, model=Thing)).id == 7
        assert source.calls == 1
        assert watched.events["unreadable"] == 1

    async def test_one_that_somebody_else_is_making_is_not_waited_for(self, watched: Watched) -> None:
        """His would be unreadable, too."""
        await watched.cache.get_or_set(KEY, Source({"name": "other"}), MINUTE)
        await watched.cache.take_lease(KEY, "another", 60_000, "-")
        async with asyncio.timeout(10):
            patient = CacheOptions(ttl=60, hard_timeout=60)
            value = await watched.cache.get_or_set(KEY, Source(WithAttributes()), patient, model=Thing)
        assert value.id == 7

    async def test_what_json_cannot_hold_is_passed_through(
        self, watched: Watched, store: ValkeyClient
    ) -> None:
        source = Source(WithAttributes())
        for _ in range(2):
            assert await watched.cache.get_or_set(KEY, source, MINUTE) is source.value
        assert watched.events == {"miss": 2, "unstorable": 2}
        await until_free(store)
        assert await store.execute("EXISTS", KEY) == 0

    async def test_a_huge_value_is_shown_and_not_kept(self, watched: Watched, store: ValkeyClient) -> None:
        source = Source("x" * 300_000)
        assert await watched.cache.get_or_set(KEY, source, MINUTE) == source.value
        assert watched.events == {"miss": 1, "too_large": 1}
        await until_free(store)
        assert await store.execute("EXISTS", KEY) == 0
        large = CacheOptions(ttl=60, max_bytes=1_000_000)
        assert [await watched.cache.get_or_set(KEY, source, large) for _ in range(2)] == [source.value] * 2
        assert source.calls == 2


class Rot:
    """A sealer of the tests: it binds to the context and hides nothing."""

    def seal(self, data: bytes, context: bytes, /) -> bytes:
        return context + b"|" + data[::-1]

    def open(self, sealed: bytes, context: bytes, /) -> bytes:
        if not sealed.startswith(context + b"|"):
            raise ValueError("sealed for another place")
        return sealed.removeprefix(context + b"|")[::-1]


class TestSealed:
    async def test_is_stored_sealed_and_opens_only_in_its_place(self, store: ValkeyClient) -> None:
        watched, options, source = (
            Watched(store, seal=Rot()),
            CacheOptions(ttl=60, sealed=True),
            Source("hidden"),
        )
        for _ in range(2):
            assert await watched.cache.get_or_set(KEY, source, options) == "hidden"
        assert source.calls == 1
        stored = await store.execute("GET", KEY)
        assert b"hidden" not in stored
        await store.execute("SET", "{p:other}:v1:e", stored)
        assert await watched.cache.get_or_set("{p:other}:v1:e", Source(), options) == "new"
        assert watched.events["unreadable"] == 1

    async def test_callers_at_once_may_ask_in_different_ways(self, store: ValkeyClient) -> None:
        cache, source = Cache(store, seal=Rot()), Source({"id": 7, "at": WithAttributes.at})
        source.hold()
        first = asyncio.create_task(cache.get_or_set(KEY, source, CacheOptions(ttl=60, sealed=True)))
        await source.started.wait()
        second = asyncio.create_task(cache.get_or_set(KEY, source, MINUTE, model=Thing))
        await until(lambda: _has_waiters(cache, 2))
        source.gate.set()
        assert (await first, await second) == (source.value, Thing(id=7, at=WithAttributes.at))

    async def test_only_when_asked_for_and_never_without_a_sealer(self, store: ValkeyClient) -> None:
        await Cache(store, seal=Rot()).get_or_set(KEY, Source("open"), MINUTE)
        assert b'"open"' in await store.execute("GET", KEY)
        with pytest.raises(ConfigurationError, match="needs a cache with a sealer"):
            await Cache(store).get_or_set(KEY, Source(), CacheOptions(ttl=60, sealed=True))
