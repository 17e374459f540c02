"""One object per endpoint: its defaults, and what it refuses."""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from app.core.policies import Credits, Idempotency, JobConfig, RateLimit, ResponseCache, Security
from tests.cases import each_case

PER_IP = RateLimit.fixed_window("ip", limit=5, window=60, scope="ip")


class TestDefaults:
    def test_it_is_safe_alone(self) -> None:
        config = JobConfig()
        (limit,) = config.limits
        assert config.security == Security()
        assert not config.security.anonymous
        assert (limit.algorithm, limit.quota, limit.window, limit.burst, limit.scopes) == (
            "token_bucket",
            600,
            60,
            60,
            ("user",),
        )
        assert (config.timeout, config.max_body) == (30.0, 1_048_576)
        assert config.metrics
        assert config.tracing
        assert config.logging
        assert not config.atomic

    def test_public_lets_anybody_in_and_counts_by_network(self) -> None:
        config = JobConfig.public()
        (limit,) = config.limits
        assert config.security.anonymous
        assert (limit.quota, limit.window, limit.burst, limit.scopes) == (300, 60, 60, ("ip",))

    def test_none_means_that_a_policy_is_not_used(self) -> None:
        config = JobConfig(rate_limit=None, timeout=None, max_body=None)
        assert (config.limits, config.timeout, config.max_body) == ((), None, None)

    def test_one_limit_or_several_come_out_as_a_tuple(self) -> None:
        user = RateLimit.fixed_window(limit=5, window=60)
        assert JobConfig(rate_limit=user).limits == (user,)
        assert JobConfig(rate_limit=(user, PER_IP)).limits == (user, PER_IP)

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(FrozenInstanceError):
            JobConfig().timeout = 1.0  # type: ignore[misc]

    def test_equal_options_make_equal_objects(self) -> None:
        assert JobConfig(timeout=5) == JobConfig(timeout=5)
        assert JobConfig(timeout=5) != JobConfig(timeout=6)


@each_case(
    ("options", "said"),
    [
        ({"security": None}, r"JobConfig\.public\(\) is the way"),
        ({"timeout": 0}, "timeout must be more than 0 and at most 3600 seconds, not 0"),
        ({"timeout": -1}, "timeout must be more than 0"),
        ({"timeout": 3600.1}, "at most 3600 seconds"),
        ({"timeout": float("nan")}, "timeout must be more than 0"),
        ({"max_body": -1}, "max_body must not be negative, not -1"),
        (
            {"rate_limit": (PER_IP, RateLimit.debounce("ip", interval=1))},
            r"names must differ, not \['ip', 'ip'\]",
        ),
        (
            {
                "rate_limit": (
                    RateLimit.throttle("a", rate=1, shared="both"),
                    RateLimit.throttle("b", rate=1, shared="both"),
                )
            },
            "two limits of one endpoint cannot share one bucket",
        ),
        ({"security": Security(anonymous=True)}, "keeps a limit per IP"),
        ({"security": Security(anonymous=True), "rate_limit": None}, "keeps a limit per IP"),
    ],
)
def test_options_that_cannot_be_are_refused_when_it_is_built(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        JobConfig(**options)


@each_case(
    "limit",
    [
        RateLimit.fixed_window(limit=5, window=60, scope="global"),
        RateLimit.fixed_window(limit=5, window=60, scope="ip", shadow=True),
    ],
)
def test_a_public_endpoint_keeps_a_limit_per_ip_that_refuses(limit: RateLimit) -> None:
    with pytest.raises(ValueError, match="keeps a limit per IP"):
        JobConfig.public(rate_limit=limit)


def test_the_ends_of_the_ranges_are_allowed() -> None:
    config = JobConfig(timeout=3600, max_body=0)
    assert (config.timeout, config.max_body) == (3600, 0)


@each_case(
    ("scope", "outside"),
    [
        ("user", False),
        ("api_key", False),
        (("user", "ip"), False),
        ("ip", True),
        ("tenant", True),
        ("route", True),
        ("global", True),
    ],
)
def test_limits_that_leave_the_callers_slot_are_named(scope: Any, *, outside: bool) -> None:
    config = JobConfig(rate_limit=RateLimit.fixed_window("one", limit=5, window=60, scope=scope))
    assert config.outside_slot == (("one",) if outside else ())


@each_case(
    ("cache", "outside"),
    [
        (ResponseCache(ttl=60), False),
        (ResponseCache(ttl=60, tags=("orders",)), True),
        (ResponseCache(ttl=60, tags=("orders:{user}",)), True),
        (ResponseCache(ttl=60, scope="tenant"), True),
        (ResponseCache(ttl=60, scope="public", shared_with_all=True), True),
    ],
)
def test_a_cache_that_leaves_the_callers_slot_is_named(cache: ResponseCache, *, outside: bool) -> None:
    config = JobConfig(rate_limit=None, cache=cache)
    assert config.outside_slot == (("cache",) if outside else ())


def test_a_key_that_is_charged_is_kept_for_as_long_as_its_charge_is_known_by_it() -> None:
    with pytest.raises(ValueError, match="retention must be at least a day where credits are charged"):
        JobConfig(idempotency=Idempotency(retention=86_399), credits=Credits(cost=2))
    JobConfig(idempotency=Idempotency(retention=86_400), credits=Credits(cost=2))
    JobConfig(idempotency=Idempotency(retention=60))
