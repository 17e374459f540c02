"""What a limit may be: every option with its range, and what the constructors make of the documents' arguments."""

from typing import Any

import pytest

from app.core.policies import RateLimit, is_policy_name
from tests.cases import each_case


def limit(**changes: Any) -> RateLimit:
    return RateLimit(**{"name": "user", "algorithm": "token_bucket", "quota": 5, "window": 60.0, **changes})


class TestRanges:
    @each_case(
        ("changes", "said"),
        [
            ({"name": ""}, "at most 63 characters"),
            ({"name": "User"}, r"must match \[a-z\]"),
            ({"name": "1st"}, r"must match \[a-z\]"),
            ({"name": 'a"b'}, r"must match \[a-z\]"),
            ({"name": "user\n"}, r"must match \[a-z\]"),
            ({"name": "a" * 64}, "at most 63 characters"),
            ({"shared": "a b"}, r"RateLimit.shared must match"),
            ({"quota": 0}, "quota must be 1 to 1,000,000,000, not 0"),
            ({"quota": -1}, "quota must be 1 to 1,000,000,000, not -1"),
            ({"quota": 1_000_000_001}, "quota must be 1 to"),
            ({"window": 0}, "window must be 0.001 to 31,622,400 seconds, not 0"),
            ({"window": 0.0009}, "window must be 0.001 to"),
            ({"window": 31_622_401}, "window must be 0.001 to"),
            ({"window": float("nan")}, "window must be 0.001 to"),
            ({"window": float("inf")}, "window must be 0.001 to"),
            ({"burst": 0}, "burst must be 1 to 1,000,000,000, not 0"),
            ({"burst": 1_000_000_001}, "burst must be 1 to"),
            ({"burst": 5, "algorithm": "fixed_window"}, "burst is for a token bucket"),
            ({"algorithm": "leaky"}, "algorithm must be one of token_bucket, .*, not 'leaky'"),
            ({"charge": "atempt"}, "charge must be one of attempt, admit, not 'atempt'"),
            ({"on_store_down": "close"}, "on_store_down must be one of local, open, closed, not 'close'"),
            ({"cost": -1}, "cost must be 0 to 5, not -1"),
            ({"cost": 6}, "cost must be 0 to 5, not 6; more could never pass"),
            ({"cost": 3, "burst": 2}, "cost must be 0 to 2, not 3"),
            ({"cost": 2, "algorithm": "throttle"}, "cost must be 0 to 1, not 2"),
            ({"cost": 2, "algorithm": "debounce"}, "cost must be 0 to 1, not 2"),
            ({"scope": ()}, "scope must be of"),
            ({"scope": "planet"}, "scope must be of"),
            ({"scope": ("user", "user")}, "without repetition"),
            ({"scope": ("user", "planet")}, "scope must be of"),
            ({"scope": ("global", "user")}, "scope global stands alone"),
            ({"quota": 1_000_000_000, "window": 31_622_400, "algorithm": "sliding_window"}, "exact counting"),
            ({"quota": 1, "window": 31_622_400.0, "burst": 1_000_000_000}, "exact counting"),
        ],
    )
    def test_an_option_out_of_range_is_refused_with_its_range(
        self, changes: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(ValueError, match=said):
            limit(**changes)

    @each_case(
        "changes",
        [
            {"name": "a"},
            {"name": "a" * 63},
            {"name": "a_1"},
            {"quota": 1},
            {"quota": 1_000_000_000, "window": 1.0},
            {"window": 0.001},
            {"window": 31_622_400},
            {"burst": 1},
            {"cost": 0},
            {"cost": 5},
            {"cost": lambda request: 1_000},
            {"scope": ("user", "route")},
            {"scope": "global"},
            {"shared": "logins"},
        ],
    )
    def test_the_ends_of_every_range_are_allowed(self, changes: dict[str, Any]) -> None:
        made = limit(**changes)
        assert all(getattr(made, name) == value for name, value in changes.items())

    @each_case("rate", [0, 0.000_000_9, 1_000_001, -1, float("nan")])
    def test_a_refill_rate_out_of_range_is_refused(self, rate: float) -> None:
        with pytest.raises(ValueError, match=r"refill_rate must be 0\.000001 to 1,000,000 tokens per second"):
            RateLimit.token_bucket(max_tokens=5, refill_rate=rate)

    def test_a_limit_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            limit().quota = 6  # type: ignore[misc]


class TestConstructors:
    def test_token_bucket_holds_max_tokens_and_refills_by_the_second(self) -> None:
        made = RateLimit.token_bucket(max_tokens=5, refill_rate=2)
        assert (made.algorithm, made.quota, made.window, made.burst) == ("token_bucket", 5, 2.5, 5)
        assert (made.interval_us, made.largest_cost) == (500_000, 5)

    @each_case("algorithm", ["fixed_window", "sliding_window"])
    def test_windows_take_a_limit_and_seconds(self, algorithm: str) -> None:
        made: RateLimit = getattr(RateLimit, algorithm)(limit=10, window=60)
        assert (made.algorithm, made.quota, made.window, made.burst) == (algorithm, 10, 60, None)
        assert made.largest_cost == 10

    def test_throttle_spaces_evenly(self) -> None:
        made = RateLimit.throttle(rate=2, per=1)
        assert (made.algorithm, made.quota, made.window, made.burst) == ("throttle", 2, 1, 1)
        assert (made.interval_us, made.largest_cost) == (500_000, 1)

    def test_debounce_waits_for_quiet(self) -> None:
        made = RateLimit.debounce(interval=2)
        assert (made.algorithm, made.quota, made.window) == ("debounce", 1, 2)

    def test_what_all_of_them_have_by_default(self) -> None:
        made = RateLimit.fixed_window(limit=1, window=1)
        assert (made.name, made.scopes, made.cost, made.charge) == ("user", ("user",), 1, "attempt")
        assert (made.shared, made.shadow, made.on_store_down) == (None, False, "local")

    def test_an_interval_that_does_not_divide_is_rounded_against_the_caller(self) -> None:
        assert limit(quota=3, window=1).interval_us == 333_334


@each_case(
    ("name", "is_one"),
    [
        ("a", True),
        ("records_get", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("", False),
        ("records-get", False),
        ("a\n", False),
        ("ä", False),
    ],
)
def test_names_are_short_and_plain(name: str, *, is_one: bool) -> None:
    assert is_policy_name(name) is is_one
