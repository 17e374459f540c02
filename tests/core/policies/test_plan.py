"""A policy's limits as the script takes them, and what requests cost."""

from typing import Any

import pytest

from app.core.errors import ConfigurationError, Unprocessable
from app.core.policies import Caller, CostExceedsLimit, CostRequest, Plan, RateLimit
from app.core.policies._plan import Counter, counter_of
from tests.cases import each_case

GET = CostRequest("GET", {"item_id": "7"}, {"n": ["3"]}, None)
BUCKET = RateLimit.token_bucket("bucket", max_tokens=5, refill_rate=1)


class TestCounters:
    @each_case(
        ("limit", "counter"),
        [
            (BUCKET, Counter("g", 1_000_000, 5_000_000, 1)),
            (RateLimit.throttle(rate=2, per=1), Counter("g", 500_000, 500_000, 1)),
            (RateLimit.fixed_window(limit=5, window=60), Counter("f", 60_000_000, 5, 1)),
            (RateLimit.sliding_window(limit=5, window=60), Counter("s", 60_000_000, 5, 1)),
            (RateLimit.debounce(interval=2), Counter("d", 2_000_000, 0, 1)),
        ],
    )
    def test_an_algorithm_is_a_letter_and_two_numbers(self, limit: RateLimit, counter: Counter) -> None:
        assert counter_of(limit) == counter

    @each_case(
        ("options", "flags"),
        [
            ({}, 1),
            ({"charge": "admit"}, 0),
            ({"shadow": True}, 3),
            ({"charge": "admit", "shadow": True}, 2),
        ],
    )
    def test_flags_say_what_a_refusal_by_others_and_by_itself_means(
        self, options: dict[str, Any], flags: int
    ) -> None:
        assert counter_of(RateLimit.fixed_window(limit=5, window=60, **options)).flags == flags

    @each_case(
        ("limit", "share"),
        [
            (BUCKET, Counter("g", 2_000_000, 4_000_000, 1)),
            (RateLimit.throttle(rate=2, per=1), Counter("g", 1_000_000, 1_000_000, 1)),
            (RateLimit.fixed_window(limit=5, window=60), Counter("f", 60_000_000, 2, 1)),
            (RateLimit.fixed_window(limit=1, window=60), Counter("f", 60_000_000, 1, 1)),
        ],
    )
    def test_a_process_gets_its_share_and_never_less_than_one(self, limit: RateLimit, share: Counter) -> None:
        assert Plan("items", [limit]).shared_by(2) == (share,)


class TestPlan:
    def test_arguments_are_five_for_each_limit_in_order(self) -> None:
        plan = Plan("items", [BUCKET, RateLimit.fixed_window("f", limit=5, window=60, cost=2)])
        assert b" ".join(plan.arguments(plan.costs)) == b"g 1000000 5000000 1 1 f 60000000 5 2 1"
        assert plan.arguments((4, 0))[3::5] == (b"4", b"0")

    def test_a_part_of_a_plan_keeps_its_buckets(self) -> None:
        limits = [BUCKET, RateLimit.fixed_window("f", limit=5, window=60, charge="admit")]
        part = Plan("items", limits).only(lambda limit: limit.charge == "attempt")
        caller = Caller(None, "192.0.2.1")
        assert part.limits == (BUCKET,)
        assert part.keys(caller) == Plan("items", limits).keys(caller)[:1]

    def test_the_audit_learns_bucket_names(self) -> None:
        limits = [
            BUCKET,
            RateLimit.fixed_window("f", limit=5, window=60, shared="pool"),
            RateLimit.fixed_window("g", limit=5, window=60, scope="global"),
        ]
        assert [name for name, _ in Plan("items", limits).buckets()] == ["items.bucket", "=pool", "*.g"]


class TestCosts:
    @staticmethod
    def plan(cost: Any) -> Plan:
        return Plan("items", [RateLimit.fixed_window("one", limit=5, window=60, cost=cost), BUCKET])

    def test_a_function_of_the_requests_head_names_the_cost(self) -> None:
        assert self.plan(lambda request: int(request.query["n"][0])).priced(GET) == (3, 1)
        assert self.plan(lambda request: len(request.path_params)).priced(GET) == (1, 1)

    def test_more_than_a_limit_holds_is_422_that_names_it_and_not_a_wait(self) -> None:
        with pytest.raises(CostExceedsLimit) as caught:
            self.plan(lambda _: 6).priced(GET)
        refusal = caught.value
        assert (refusal.status, refusal.violated, refusal.retry_after) == (422, ("one",), None)
        assert refusal.extensions["reason"] == "cost_exceeds_limit"
        assert "Retry-After" not in refusal.headers

    @each_case("cost", [1.5, None, "3", True])
    def test_a_function_that_returns_nonsense_is_our_mistake(self, cost: Any) -> None:
        with pytest.raises(ConfigurationError, match="it must return an int"):
            self.plan(lambda _: cost).priced(GET)

    @each_case(
        "cost", [lambda r: r.query["missing"], lambda r: r.query["n"][5], lambda _: int("x"), lambda _: -1]
    )
    def test_what_cannot_be_computed_from_the_request_is_422(self, cost: Any) -> None:
        with pytest.raises(Unprocessable):
            self.plan(cost).priced(GET)
