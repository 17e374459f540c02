"""ADMIT on a real Cluster node that owns all slots: undeclared keys and keys of several slots fail there, and nothing of ours does."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.core.policies import (
    ADMIT,
    Admitter,
    Ask,
    IdempotencyUnavailable,
    Lookup,
    Plan,
    RateLimit,
    Settled,
    Slot,
    Verdict,
)
from app.core.resilience import SystemClock
from app.core.valkey import Script, StoreReplyError, StoreTimeout, ValkeyClient
from tests.core.policies.asking import (
    ALICE,
    FAR,
    HOUR_MS,
    LIMITED,
    claim,
    fund,
    hold,
    lives,
    lookup,
    quota,
    slot,
)

USER = RateLimit.fixed_window("user", limit=100, window=FAR)
IP = RateLimit.fixed_window("ip", limit=100, window=FAR, scope="ip")
EVERYBODY = RateLimit.fixed_window("everybody", limit=100, window=FAR, scope="global", charge="admit")
PLAN = Plan("orders", [USER, IP, EVERYBODY])
POOL = Slot("{s:*.pool}:v1:s:*.pool", 2, 10_000, False, "local", "pool", "global")


@pytest.fixture
def admitter(cluster: ValkeyClient) -> Admitter:
    return Admitter(cluster, clock=SystemClock(), clustered=True)


def everything(*, key: str = "k") -> Ask:
    return Ask(
        claim(key),
        lookup(tags=("a", "b")),
        False,
        (quota(end_ms=4_000_000_000_000),),
        (slot(5), POOL),
        hold(1),
    )


def remaining(plan_states: object) -> list[int]:
    return [state.remaining for state in plan_states]  # type: ignore[attr-defined]


async def left(admitter: Admitter) -> list[int]:
    return remaining((await admitter.admit(PLAN, ALICE, (0, 0, 0))).states)


class TestNode:
    async def test_it_refuses_keys_of_two_slots_in_one_script(self, cluster: ValkeyClient) -> None:
        with pytest.raises(StoreReplyError, match="CROSSSLOT"):
            await cluster.run(ADMIT, ["{r:1}:v1:r:1", *PLAN.keys(ALICE)], [b"10", b"0"])

    async def test_it_refuses_a_key_that_was_not_declared(self, cluster: ValkeyClient) -> None:
        sneaky = Script(
            "sneaky", ADMIT.source.replace("return reply\n", "redis.call('GET', 'elsewhere') return reply\n")
        )
        with pytest.raises(StoreReplyError):
            await cluster.run(
                sneaky, ["{u:alice}:v1:r:1", *LIMITED.keys(ALICE)], [b"10", b"1", *LIMITED.arguments((1,))]
            )


class TestLearning:
    """An admitter that nobody told that the store is a Cluster, as after an outage at the start."""

    @pytest.mark.parametrize(
        "ask", [Ask(), Ask(slots=(POOL._replace(most=5), slot(5)))], ids=["limits", "more"]
    )
    async def test_the_first_calls_of_all_are_decided_in_the_store(
        self, cluster: ValkeyClient, ask: Ask
    ) -> None:
        admitter = Admitter(cluster, clock=SystemClock())
        first = await asyncio.gather(*(admitter.admit(PLAN, ALICE, None, ask) for _ in range(3)))
        assert [(it.allowed, it.degraded) for it in first] == [(True, False)] * 3
        assert admitter.is_clustered
        assert await left(admitter) == [97, 97, 97]

    async def test_a_limit_that_must_be_checked_is_not_refused(self, cluster: ValkeyClient) -> None:
        closed = [replace(limit, on_store_down="closed") for limit in PLAN.limits]
        admitted = await Admitter(cluster, clock=SystemClock()).admit(Plan("orders", closed), ALICE)
        assert (admitted.allowed, admitted.degraded) == (True, False)


class TestEverything:
    async def test_all_parts_are_taken_settled_and_live_for_a_while(
        self, admitter: Admitter, cluster: ValkeyClient
    ) -> None:
        await fund(cluster, 5)
        first = await admitter.admit(PLAN, ALICE, None, everything())
        assert (first.verdict, first.generation, first.is_leader) == (Verdict.ADMITTED, 1, True)
        assert remaining(first.states) == [99, 99, 99]
        assert first.versions.count(b",") == 1
        assert await admitter.extend(first, 20_000)
        assert await admitter.settle(first, b"result") == Settled()
        assert all(life > 0 for life in (await lives(cluster)).values())
        replay = await admitter.admit(PLAN, ALICE, None, everything())
        assert (replay.verdict, replay.tail) == (Verdict.REPLAY, b"result")
        assert await cluster.execute("EXISTS", POOL.key) == 0

    async def test_an_abort_gives_all_of_it_back_but_attempts(
        self, admitter: Admitter, cluster: ValkeyClient
    ) -> None:
        await fund(cluster, 5)
        first = await admitter.admit(PLAN, ALICE, None, everything())
        for _ in range(2):
            await admitter.abort(first)
        assert await left(admitter) == [99, 99, 100]
        assert await cluster.execute("GET", quota(end_ms=1).key) == b"0"
        assert (await admitter.admit(PLAN, ALICE, None, everything())).is_leader

    async def test_of_fifty_equal_keys_one_is_admitted(
        self, admitter: Admitter, cluster: ValkeyClient
    ) -> None:
        await fund(cluster, 50)
        ask = Ask(claim(), slots=(POOL._replace(most=50),))
        answers = await asyncio.gather(*(admitter.admit(PLAN, ALICE, None, ask) for _ in range(50)))
        assert sum(answer.allowed for answer in answers) == 1
        assert await cluster.execute("ZCARD", POOL.key) == 1
        assert await left(admitter) == [50, 50, 99]


class TestDisagreement:
    async def test_an_ip_limit_that_refuses_undoes_what_the_caller_took(
        self, admitter: Admitter, cluster: ValkeyClient
    ) -> None:
        await fund(cluster, 5)
        plan = Plan(
            "orders", [USER, RateLimit.fixed_window("ip", limit=1, window=FAR, scope="ip"), EVERYBODY]
        )
        await admitter.admit(plan, ALICE)
        refused = await admitter.admit(plan, ALICE, None, everything())
        assert (refused.verdict, refused.cause_name, refused.violated) == (Verdict.LIMITED, "ip", ("ip",))
        assert [
            key for key in await lives(cluster) if ":i:" in key or ":s:" in key or key.endswith(":l")
        ] == []
        assert await cluster.execute("HGET", hold().key, "h") == b"0"
        look = await admitter.admit(plan, ALICE, (0, 0, 0))
        assert remaining(look.states) == [98, 0, 99]

    async def test_a_full_pool_undoes_the_claim_and_names_itself(
        self, admitter: Admitter, cluster: ValkeyClient
    ) -> None:
        await fund(cluster, 5)
        for key in "ab":
            await admitter.admit(PLAN, ALICE, None, Ask(claim(key), slots=(POOL,)))
        refused = await admitter.admit(PLAN, ALICE, None, everything())
        assert (refused.verdict, refused.cause_name, refused.refusal().status) == (Verdict.BUSY, "pool", 503)
        free = Ask(claim())
        assert (await admitter.admit(PLAN, ALICE, None, free)).allowed

    async def test_too_few_credits_undo_the_pool(self, admitter: Admitter, cluster: ValkeyClient) -> None:
        await fund(cluster, 0)
        refused = await admitter.admit(PLAN, ALICE, None, everything())
        assert (refused.verdict, refused.violated) == (Verdict.NO_CREDIT, ("credits",))
        assert await cluster.execute("EXISTS", POOL.key) == 0
        assert await left(admitter) == [99, 99, 100]

    async def test_a_cold_account_is_asked_for_again_and_each_limit_is_charged_once(
        self, admitter: Admitter, cluster: ValkeyClient
    ) -> None:
        cold = await admitter.admit(PLAN, ALICE, None, everything())
        assert cold.verdict is Verdict.COLD
        await fund(cluster, 5)
        warm = await admitter.admit(PLAN, ALICE, None, everything(), again=cold)
        assert warm.allowed
        assert remaining(warm.states) == [99, 99, 99]

    async def test_an_open_circuit_takes_nothing_anywhere(
        self, admitter: Admitter, cluster: ValkeyClient
    ) -> None:
        await fund(cluster, 5)
        answer = await admitter.admit(PLAN, ALICE, None, everything()._replace(circuit_open=True))
        assert answer.verdict is Verdict.OPEN
        assert await left(admitter) == [99, 99, 100]
        assert (
            await admitter.admit(Plan("orders", []), ALICE, None, Ask(circuit_open=True))
        ).verdict is Verdict.OPEN

    async def test_a_part_whose_answer_is_lost_undoes_the_others(self, cluster: ValkeyClient) -> None:
        await fund(cluster, 5)
        admitter = Admitter(Lossy(cluster), clock=SystemClock(), clustered=True)
        with pytest.raises(IdempotencyUnavailable):
            await admitter.admit(PLAN, ALICE, None, everything())
        await admitter.close()
        assert [
            key for key in await lives(cluster) if ":i:" in key or ":s:" in key or key.endswith(":l")
        ] == []
        assert await cluster.execute("HGET", hold().key, "h") == b"0"


class TestTags:
    async def test_an_entry_is_valid_until_a_tag_in_another_slot_changes(
        self, admitter: Admitter, cluster: ValkeyClient
    ) -> None:
        ask = Ask(lookup=lookup(tags=("a", "b")))
        first = await admitter.admit(PLAN, ALICE, None, ask)
        now = first.now_ms
        entry = f"{now} {now + HOUR_MS} {now + HOUR_MS} 1 {first.versions.decode()}\nbody".encode()
        await cluster.execute("SET", lookup().key, entry, "PX", HOUR_MS)
        await admitter.abort(first)
        hit = await admitter.admit(PLAN, ALICE, None, ask)
        assert (hit.verdict, hit.tail) == (Verdict.FRESH, entry)
        await cluster.execute("SET", "{tag:b}:v1:t", "1", "PX", HOUR_MS)
        changed = await admitter.admit(PLAN, ALICE, None, ask)
        assert (changed.verdict, changed.is_leader, changed.tail) == (Verdict.ADMITTED, True, b"")


PUBLIC = Lookup("{e:news}:v1:e:orders:news", (), 10_000)
SHUT = RateLimit.fixed_window("shut", limit=1, window=FAR, charge="admit")


class TestGlance:
    """Limits, answer and quota in slots of their own."""

    async def test_a_limit_on_admitted_ones_elsewhere_does_not_refuse_who_may_get_a_stale_answer(
        self, admitter: Admitter, cluster: ValkeyClient
    ) -> None:
        plan = Plan("orders", [USER, SHUT])
        await admitter.admit(Plan("orders", []), ALICE, None, Ask(lookup=PUBLIC))
        await admitter.admit(plan, ALICE, (0, 1))
        glance = await admitter.admit(plan, ALICE, None, Ask(lookup=PUBLIC._replace(lease_ms=0)))
        assert glance.verdict is Verdict.CLOCK
        whole = await admitter.admit(plan, ALICE, None, Ask(lookup=PUBLIC), again=glance)
        assert whole.verdict is Verdict.WAIT
        assert (await admitter.admit(plan, ALICE, (0, 0))).numbers[1] == 99, "charged once"

    async def test_a_limit_on_attempts_elsewhere_refuses_him(
        self, admitter: Admitter, cluster: ValkeyClient
    ) -> None:
        await admitter.admit(PLAN, ALICE, (100, 0, 0))
        glance = await admitter.admit(PLAN, ALICE, None, Ask(lookup=PUBLIC._replace(lease_ms=0)))
        assert (glance.verdict, glance.violated) == (Verdict.LIMITED, ("user",))

    async def test_after_a_lost_one_all_is_asked_in_its_own_parts(self, cluster: ValkeyClient) -> None:
        lossy = Lossy(cluster)
        admitter = Admitter(lossy, clock=SystemClock(), clustered=True)
        glance = await admitter.admit(PLAN, ALICE, None, Ask(lookup=PUBLIC._replace(lease_ms=0)))
        assert glance.is_lost_glance
        lossy.loses = ""
        day = quota(end_ms=4_000_000_000_000)._replace(key="{ip:192.0.2.1}:v1:q:orders.day:d1")
        whole = await admitter.admit(PLAN, ALICE, None, Ask(lookup=PUBLIC, allowances=(day,)), again=glance)
        assert (whole.verdict, whole.is_leader, whole.answer and whole.answer.quotas) == (
            Verdict.ADMITTED,
            True,
            ((True, 9),),
        )


class Lossy:
    """A store that never tells what became of one of the parts: the one of the network."""

    def __init__(self, store: ValkeyClient) -> None:
        self._store = store
        self.loses = "{ip:"

    async def submit(self, script: Script, keys: Sequence[str], args: Sequence[bytes]) -> bytes:
        return await self.run(script, keys, args, timeout_s=2.0)

    async def run(
        self, script: Script, keys: Sequence[str], args: Sequence[bytes], *, timeout_s: float
    ) -> bytes:
        reply: bytes = await self._store.run(script, keys, args)
        if self.loses and keys[0].startswith(self.loses):
            raise StoreTimeout
        return reply
