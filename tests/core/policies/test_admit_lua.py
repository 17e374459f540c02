"""The ADMIT script on states that another version of a limit has left under the same name."""

from itertools import permutations

import pytest

from app.core.policies import Admitter, Caller, Plan, RateLimit
from app.core.resilience import SystemClock
from app.core.valkey import ValkeyClient

ALICE = Caller(None, "192.0.2.1")
QUIET = 86_400.0
KINDS = [
    RateLimit.token_bucket(max_tokens=5, refill_rate=0.001),
    RateLimit.fixed_window(limit=5, window=QUIET * 300),
    RateLimit.sliding_window(limit=5, window=QUIET * 300),
    RateLimit.debounce(interval=QUIET),
]


@pytest.mark.parametrize(
    ("before", "after"), list(permutations(KINDS, 2)), ids=lambda limit: limit.algorithm.partition("_")[0]
)
async def test_a_limit_whose_algorithm_was_changed_goes_on_counting_from_whatever_it_finds(
    store: ValkeyClient, clean_store: None, before: RateLimit, after: RateLimit
) -> None:
    admitter = Admitter(store, clock=SystemClock())
    await admitter.admit(Plan("orders", [before]), ALICE)
    verdicts = [(await admitter.admit(Plan("orders", [after]), ALICE)).allowed for _ in range(7)]
    assert verdicts == sorted(verdicts, reverse=True)
    assert verdicts.count(True) <= after.quota
    assert verdicts[-1] is False
