"""Cached answers in ADMIT: fresh, stale, gone; one leader; never valid across a change of a tag."""

from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from app.core.policies import Admission, Admitter, Ask, Settled, Verdict
from app.core.resilience import SystemClock
from app.core.valkey import Put, ValkeyClient
from tests.core.policies.asking import (
    ALICE,
    LIMITED,
    NO_LIMITS,
    TimedStore,
    ask_times,
    fund,
    hold,
    lives,
    lookup,
    slot,
    timed,
)
from tests.servers import PrivateServer

pytestmark = pytest.mark.usefixtures("clean_store")
TAGGED = lookup(tags=("a", "b"))


async def put(
    time: TimedStore,
    *,
    fresh_s: float = 60,
    stale_s: float = 120,
    versions: bytes = b"-",
    body: bytes = b"body",
) -> bytes:
    now = time.now_ms
    head = f"{now} {now + round(fresh_s * 1000)} {now + round(stale_s * 1000)} 5 ".encode()
    entry = head + versions + b"\n" + body
    await time.store.execute("SET", lookup().key, entry, "PX", 600_000)
    return entry


def settled_soon(admitter: Admitter) -> Callable[..., Awaitable[None]]:
    async def settle(admission: Admission, entry: Put) -> None:
        admitter.settle_soon(admission, entry=entry)
        await admitter.close()

    return settle


class TestStates:
    async def test_a_fresh_entry_is_the_answer_and_nothing_else_is_taken(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        await fund(store, 0)
        entry = await put(time, body=b"a\n\nb")
        hit = await admitter.admit(LIMITED, ALICE, None, Ask(lookup=lookup(), slots=(slot(0),), hold=hold()))
        assert (hit.verdict, hit.tail, hit.allowed) == (Verdict.FRESH, entry, False)
        assert next(hit.states).remaining == 999
        assert hit.violated == ()

    async def test_fresh_until_its_time_and_stale_until_its_end_and_then_gone(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        entry = await put(time)
        seen = []
        for second in (59.999, 60, 119.999, 120):
            await time.at(second)
            answer = await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=lookup()))
            seen.append((answer.verdict, answer.is_leader, answer.tail == entry))
        assert seen == [
            (Verdict.FRESH, False, True),
            (Verdict.ADMITTED, True, True),
            (Verdict.STALE, False, True),
            (Verdict.WAIT, False, False),
        ]

    @pytest.mark.parametrize(("hit_cost", "left"), [(0, 1000), (1, 999)])
    async def test_a_hit_is_charged_to_attempt_limits_if_it_costs(
        self, store: ValkeyClient, hit_cost: int, left: int
    ) -> None:
        admitter, time = await timed(store)
        await put(time)
        hit = await admitter.admit(LIMITED, ALICE, None, Ask(lookup=lookup(hit_cost=hit_cost)))
        assert next(hit.states).remaining == left

    async def test_of_a_hundred_cold_callers_one_computes(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        answers = await ask_times(admitter, 100, Ask(lookup=lookup()))
        assert Counter((answer.verdict, answer.is_leader) for answer in answers) == {
            (Verdict.ADMITTED, True): 1,
            (Verdict.WAIT, False): 99,
        }

    async def test_who_must_compute_does_so_beside_a_leader_and_leads_where_there_is_none(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        await put(time)
        must = Ask(lookup=lookup(must_compute=True))
        first = await admitter.admit(NO_LIMITS, ALICE, None, must)
        second = await admitter.admit(NO_LIMITS, ALICE, None, must)
        assert (first.verdict, first.is_leader) == (Verdict.ADMITTED, True)
        assert (second.verdict, second.is_leader) == (Verdict.ADMITTED, False)

    async def test_a_leader_that_is_refused_later_in_the_order_leaves_no_lease(
        self, store: ValkeyClient
    ) -> None:
        admitter = Admitter(store, clock=SystemClock())
        busy = await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=lookup(), slots=(slot(0),)))
        assert (busy.verdict, busy.is_leader) == (Verdict.BUSY, False)
        assert not [key for key in await lives(store) if key.endswith(":l")]

    async def test_an_aborted_leader_gives_its_lease_up_and_a_stranger_cannot(
        self, store: ValkeyClient
    ) -> None:
        admitter = Admitter(store, clock=SystemClock())
        first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=lookup()))
        await admitter.abort(first._replace(rid="another"))
        assert (await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=lookup()))).verdict is Verdict.WAIT
        await admitter.abort(first)
        assert (await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=lookup()))).is_leader

    async def test_settling_gives_the_lease_up_and_stores_the_answer_of_the_one_who_had_it(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        ask = Ask(lookup=lookup(), slots=(slot(),))
        first = await admitter.admit(NO_LIMITS, ALICE, None, ask)
        await admitter.settle(first)
        second = await admitter.admit(NO_LIMITS, ALICE, None, ask)
        assert second.is_leader
        entry = Put(lookup().key, (b"1000", b"500", b"7", b"-", b"a body"))
        await admitter.settle(first, entry=entry)  # his lease is another's by now
        assert await store.execute("GET", lookup().key) is None
        expected = b"%d %d %d 7 -\na body" % (time.now_ms, time.now_ms + 1000, time.now_ms + 1500)
        for _ in range(2):
            await admitter.settle(second, entry=entry)
            assert await store.execute("GET", lookup().key) == expected
            assert await store.execute("PTTL", lookup().key) > 1000
            await time.at(1)
        third = await admitter.admit(NO_LIMITS, ALICE, None, ask)
        assert (third.is_leader, third.tail) == (True, expected)  # stale by now

    async def test_what_there_is_no_room_for_is_not_kept_and_all_else_is_settled(
        self, private_valkey: PrivateServer
    ) -> None:
        store = ValkeyClient(private_valkey.url, timeout_s=1)
        try:
            await store.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")
            admitter = Admitter(store, clock=SystemClock())
            for settle in (admitter.settle, settled_soon(admitter)):
                first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=lookup(), slots=(slot(1),)))
                await store.execute("CONFIG", "SET", "maxmemory", "1")
                entry = Put(lookup().key, (b"1000", b"500", b"7", b"-", b"a body"))
                assert await settle(first, entry=entry) in (Settled(), None)
                await store.execute("CONFIG", "SET", "maxmemory", "0")
                assert await store.execute("EXISTS", lookup().key, f"{lookup().key}:l", slot(1).key) == 0
        finally:
            await store.execute("CONFIG", "SET", "maxmemory", "0")
            await store.close()


class TestOpenCircuit:
    async def test_a_fresh_entry_answers_and_so_does_a_stale_one_and_otherwise_it_is_open(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        ask = Ask(lookup=lookup(), circuit_open=True)
        assert (await admitter.admit(NO_LIMITS, ALICE, None, ask)).verdict is Verdict.OPEN
        await put(time)
        assert (await admitter.admit(NO_LIMITS, ALICE, None, ask)).verdict is Verdict.FRESH
        await time.at(61)
        stale = await admitter.admit(NO_LIMITS, ALICE, None, ask)
        assert (stale.verdict, stale.is_leader) == (Verdict.STALE, False)
        assert not [key for key in await lives(store) if key.endswith(":l")]


class TestTags:
    async def test_an_entry_with_the_present_versions_is_valid_and_one_with_others_is_not(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=TAGGED))
        assert first.versions.count(b",") == 1
        await put(time, versions=first.versions)
        await admitter.abort(first)
        assert (await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=TAGGED))).verdict is Verdict.FRESH
        await store.execute("SET", TAGGED.tag_keys[1], "1800000000000001")
        changed = await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=TAGGED))
        assert (changed.verdict, changed.tail) == (Verdict.ADMITTED, b"")
        assert changed.versions != first.versions

    async def test_a_tag_that_was_evicted_ends_its_entries(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        first = await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=TAGGED))
        await put(time, versions=first.versions)
        await admitter.abort(first)
        await store.execute("DEL", TAGGED.tag_keys[0])
        await time.at(1)
        assert (await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=TAGGED))).tail == b""

    async def test_an_entry_that_was_stored_without_tags_is_no_answer_to_who_asks_with_tags(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        await put(time)
        untagged = await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=lookup()))
        tagged = await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=TAGGED))
        assert (untagged.verdict, tagged.verdict) == (Verdict.FRESH, Verdict.ADMITTED)

    async def test_every_key_has_a_life_time(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=TAGGED))
        assert len(await lives(store)) == 4  # lease, two tags, receipt
        assert all(life > 0 for life in (await lives(store)).values())


class TestAgain:
    async def test_what_follows_a_wait_is_not_charged_twice(self, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=lookup()))
        waits = await admitter.admit(LIMITED, ALICE, None, Ask(lookup=lookup()))
        assert waits.verdict is Verdict.WAIT
        must = Ask(lookup=lookup(must_compute=True))
        again = await admitter.admit(LIMITED, ALICE, None, must, again=waits)
        assert (again.verdict, next(again.states).remaining) == (Verdict.ADMITTED, 999)

    async def test_a_lost_hit_is_read_again_and_one_that_is_gone_is_a_new_request(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        entry = await put(time)
        time.lose = 1
        assert (await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=lookup()))).tail == entry

        async def evict() -> None:
            await store.execute("DEL", lookup().key)

        time.lose, time.when_lost = 1, evict
        assert (await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=lookup()))).is_leader

    async def test_a_leader_whose_answer_was_lost_still_gets_its_stale_entry(
        self, store: ValkeyClient
    ) -> None:
        admitter, time = await timed(store)
        entry = await put(time)
        await time.at(61)
        time.lose = 1
        leader = await admitter.admit(NO_LIMITS, ALICE, None, Ask(lookup=lookup()))
        assert (leader.is_leader, leader.tail) == (True, entry)


class TestGlance:
    """``lease_ms`` 0: nothing but a fresh entry is asked for."""

    async def test_a_fresh_entry_is_the_answer_and_is_charged_like_any_hit(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        entry = await put(time)
        hit = await admitter.admit(LIMITED, ALICE, None, Ask(lookup=lookup(lease_ms=0)))
        assert (hit.verdict, hit.tail, next(hit.states).remaining) == (Verdict.FRESH, entry, 999)

    @pytest.mark.parametrize(("fresh_s", "versions"), [(-1, b"-"), (60, b"1,1")], ids=["stale", "changed"])
    async def test_without_one_nothing_is_taken_and_asking_for_all_is_charged_once(
        self, store: ValkeyClient, fresh_s: float, versions: bytes
    ) -> None:
        admitter, time = await timed(store)
        await put(time, fresh_s=fresh_s, versions=versions)
        before = sorted(await store.execute("KEYS", "*"))
        glance = await admitter.admit(LIMITED, ALICE, None, Ask(lookup=lookup(tags=("a", "b"), lease_ms=0)))
        assert (glance.verdict, glance.tail, glance.is_leader) == (Verdict.CLOCK, b"", False)
        assert sorted(await store.execute("KEYS", "*")) == before
        whole = await admitter.admit(LIMITED, ALICE, None, Ask(lookup=TAGGED), again=glance)
        assert (whole.verdict, whole.is_leader) == (Verdict.ADMITTED, True)
        assert next(whole.states).remaining == 999

    async def test_without_the_store_all_has_to_be_asked(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        time.down = True
        glance = await admitter.admit(LIMITED, ALICE, None, Ask(lookup=lookup(lease_ms=0)))
        assert (glance.verdict, glance.allowed, glance.is_lost_glance) == (Verdict.CLOCK, False, True)
        whole = await admitter.admit(LIMITED, ALICE, None, Ask(lookup=lookup()), again=glance)
        assert (whole.degraded, next(whole.states).remaining) == (True, 999)

    @pytest.mark.parametrize("is_there", [True, False], ids=["hit", "miss"])
    async def test_one_whose_answer_was_lost_is_charged_once_with_what_is_asked_then(
        self, store: ValkeyClient, *, is_there: bool
    ) -> None:
        admitter, time = await timed(store)
        if is_there:
            await put(time)
        time.lose = 2  # a call is tried twice
        glance = await admitter.admit(LIMITED, ALICE, None, Ask(lookup=lookup(lease_ms=0)))
        whole = await admitter.admit(LIMITED, ALICE, None, Ask(lookup=lookup()), again=glance)
        assert (whole.verdict is Verdict.FRESH, whole.is_leader) == (is_there, not is_there)
        assert next((await admitter.admit(LIMITED, ALICE, (0,))).states).remaining == 999

    async def test_one_that_runs_late_charges_nothing_more(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        await put(time)
        time.delay = 1
        glance = await admitter.admit(LIMITED, ALICE, None, Ask(lookup=lookup(lease_ms=0)))
        whole = await admitter.admit(LIMITED, ALICE, None, Ask(lookup=lookup()), again=glance)
        await time.run_late()
        assert whole.verdict is Verdict.FRESH
        assert next((await admitter.admit(LIMITED, ALICE, (0,))).states).remaining == 999

    async def test_a_used_up_limit_refuses_it(self, store: ValkeyClient) -> None:
        admitter, time = await timed(store)
        await put(time)
        await admitter.admit(LIMITED, ALICE, (1000,))
        glance = await admitter.admit(LIMITED, ALICE, None, Ask(lookup=lookup(lease_ms=0)))
        assert (glance.verdict, glance.violated) == (Verdict.LIMITED, ("wide",))
