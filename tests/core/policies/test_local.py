"""The process's own counting agrees with the script's: the model test of both."""

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.policies import Plan, RateLimit
from app.core.policies._local import LocalCounters
from app.core.policies._rate_limit import Algorithm, Charge
from app.core.valkey import ValkeyClient
from tests.core.policies.test_admission import ALICE, Timeline

QUOTAS = st.integers(1, 20)
WINDOWS = st.sampled_from([10.0, 60.0, 61.7, 3600.0])
CHARGES: st.SearchStrategy[Charge] = st.sampled_from(("attempt", "admit"))
KINDS: st.SearchStrategy[Algorithm] = st.sampled_from(
    ("token_bucket", "fixed_window", "sliding_window", "throttle", "debounce")
)
SHADOWS = st.booleans()


@st.composite
def limits(draw: st.DrawFn) -> tuple[RateLimit, ...]:
    algorithms = draw(
        st.lists(
            KINDS,
            min_size=1,
            max_size=3,
        )
    )
    return tuple(
        RateLimit(
            name=f"l{i}", algorithm=algorithm, quota=draw(QUOTAS), window=draw(WINDOWS), charge=draw(CHARGES), shadow=draw(SHADOWS),
        )
        for i, algorithm in enumerate(algorithms)
    )  # fmt: skip


@dataclass(frozen=True)
class Step:
    second: float
    costs: tuple[int, int, int]


STEPS = st.lists(
    st.builds(Step, st.floats(0, 200).map(lambda s: round(s, 6)), st.tuples(*[st.integers(0, 3)] * 3)),
    min_size=1,
    max_size=25,
)  # not sorted: the clock may go back


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(declared=limits(), steps=STEPS)
async def test_script_and_process_take_the_same_decisions(
    store: ValkeyClient, declared: tuple[RateLimit, ...], steps: list[Step]
) -> None:
    await store.execute("FLUSHDB")
    plan, local, timeline = Plan("orders", declared), LocalCounters(), Timeline(store)
    for step in steps:
        costs = step.costs[: len(declared)]
        admission = await timeline.admit(plan, step.second, costs)
        now = round((1_800_000_000 + step.second) * 1_000_000)
        verdict, cause, _, *numbers = local.admit(plan.keys(ALICE), plan.counters, costs, now)
        assert (admission.allowed, admission.cause) == (not verdict, cause)
        # The sliding window divides: its waits may differ by a microsecond between Lua's doubles and Python's integers.
        assert all(abs(ours - theirs) <= 2 for ours, theirs in zip(admission.numbers, numbers, strict=True))


def test_the_longest_unused_bucket_is_forgotten_when_there_are_too_many() -> None:
    plan = Plan("orders", [RateLimit.fixed_window(limit=1, window=60)])
    local = LocalCounters(capacity=2)
    for key in ("a", "b", "c"):
        local.admit([key], plan.counters, [1], 1_000_000)
    again = {key: local.admit([key], plan.counters, [1], 1_000_000)[0] for key in ("c", "b", "a")}
    assert again == {"c": 1, "b": 1, "a": 0}
