"""What the scripts cost the server, on a server of the test's own. Bounds are generous, because machines are busy; see the benchmark."""

import re

import pytest

from app.core.policies import Admitter, Ask, Balance, Plan, RateLimit
from app.core.resilience import SystemClock
from app.core.valkey import ValkeyClient
from tests.core.policies.asking import ALICE, NO_LIMITS, claim, fund, hold, lookup, quota, slot
from tests.servers import PrivateServer

PLAN = Plan(
    "orders",
    [
        RateLimit.token_bucket("user", max_tokens=100_000, refill_rate=100_000),
        RateLimit.token_bucket("ip", max_tokens=100_000, refill_rate=100_000, scope="ip"),
    ],
)
TIMES = 300


def everything(number: int) -> Ask:
    return Ask(
        claim(f"k{number}"),
        lookup(f"e{number}", tags=("a",)),
        False,
        (quota(10**6, end_ms=4_000_000_000_000),),
        (slot(10_000),),
        hold(1, key=f"s{number}"),
    )


async def microseconds(store: ValkeyClient) -> tuple[int, float]:
    """Calls of scripts since the last time, and their mean."""
    lines = (await store.execute("INFO", "commandstats")).decode()
    await store.execute("CONFIG", "RESETSTAT")
    found = re.search(r"cmdstat_evalsha:calls=(\d+),usec=\d+,usec_per_call=([\d.]+)", lines)
    return (int(found[1]), float(found[2])) if found else (0, 0.0)


@pytest.mark.parametrize(("ask", "most"), [(False, 150.0), (True, 300.0)], ids=["limits", "everything"])
async def test_a_request_is_one_call_and_one_more_to_settle_it(
    private_valkey: PrivateServer, ask: bool, most: float
) -> None:
    store = ValkeyClient(private_valkey.url, timeout_s=5.0)
    admitter = Admitter(store, clock=SystemClock())
    await fund(store, 1_000_000)
    await admitter.learn_time()
    await store.execute("CONFIG", "RESETSTAT")
    admissions = []
    for number in range(TIMES):
        question = everything(number) if ask else Ask()
        admissions.append(await admitter.admit(PLAN, ALICE, None, question))
    calls, mean = await microseconds(store)
    assert all(admission.allowed for admission in admissions)
    assert (calls, mean < most) == (TIMES, True), mean
    for admission in admissions:
        await admitter.settle(admission, b"result", Balance(1, 2))
    calls, mean = await microseconds(store)
    assert (calls, mean < most) == (TIMES if ask else 0, True), mean
    await store.close()


async def test_a_question_about_nothing_is_not_asked(private_valkey: PrivateServer) -> None:
    store = ValkeyClient(private_valkey.url, timeout_s=5.0)
    answer = await Admitter(store, clock=SystemClock()).admit(NO_LIMITS, ALICE, None, Ask())
    assert answer.allowed
    assert not store.is_up
    await store.close()


async def test_scripts_that_the_server_forgot_are_sent_again(private_valkey: PrivateServer) -> None:
    store = ValkeyClient(private_valkey.url, timeout_s=5.0)
    admitter = Admitter(store, clock=SystemClock())
    await fund(store, 5)
    first = await admitter.admit(PLAN, ALICE, None, everything(1))
    await store.execute("SCRIPT", "FLUSH")
    assert await admitter.extend(first, 20_000)
    await store.execute("SCRIPT", "FLUSH")
    assert not (await admitter.settle(first, b"result")).is_lost
    await store.execute("SCRIPT", "FLUSH")
    assert (await admitter.admit(PLAN, ALICE, None, everything(1))).tail == b"result"
    await store.close()


async def test_a_full_server_still_settles_and_frees_what_was_taken(private_valkey: PrivateServer) -> None:
    store = ValkeyClient(private_valkey.url, timeout_s=5.0)
    admitter = Admitter(store, clock=SystemClock())
    await fund(store, 5)
    first, second = [await admitter.admit(PLAN, ALICE, None, everything(number)) for number in range(2)]
    await store.execute("CONFIG", "SET", "maxmemory", "1mb")
    assert (await admitter.admit(PLAN, ALICE)).degraded
    assert not (await admitter.settle(first, b"result", Balance(4_000_000, 2))).is_lost
    assert not (await admitter.abort(second)).is_lost
    await store.execute("CONFIG", "SET", "maxmemory", "0")
    assert await store.execute("ZCARD", slot().key) == 0
    assert await store.execute("HMGET", hold().key, "b", "h") == [b"4000000", b"0"]
    await store.close()
