"""A policy as plain data, and two of them compared."""

import json
from dataclasses import fields, replace

from app.core.policies import (
    Breaker,
    Credits,
    JobConfig,
    Quota,
    RateLimit,
    ResponseCache,
    Retry,
    Security,
    describe,
    differences,
)


def estimate(_: object) -> int:
    return 1


CONFIG = JobConfig(
    security=Security(scopes=("a",)),
    rate_limit=RateLimit.fixed_window("ip", limit=9, window=60, scope="ip", cost=estimate),
    cache=ResponseCache(ttl=1),
    quota=Quota(per="day", limit={"default": 1, "pro": 2}),
    credits=Credits(cost=3),
    circuit_breaker=Breaker(dependency="weather"),
    retry=Retry(retry_safe=True, exceptions=(OSError,)),
)


def test_every_field_is_there_by_its_own_name_as_json() -> None:
    described = describe(CONFIG)
    assert list(described) == [field.name for field in fields(JobConfig)]
    assert json.loads(json.dumps(described)) == described
    assert described["security"] == {
        "scopes": ["a"], "roles": [], "anonymous": False, "mfa": False, "max_age": None, "api_keys": True,
    }  # fmt: skip
    assert described["rate_limit"][0]["scope"] == ["ip"]
    assert described["quota"][0]["limit"] == {"default": 1, "pro": 2}
    assert described["retry"]["exceptions"] == ["OSError"]
    assert (described["timeout"], described["concurrency"], described["bulkhead"]) == (30.0, [], None)


def test_functions_are_called_by_their_name() -> None:
    described = describe(CONFIG)
    assert described["rate_limit"][0]["cost"] == "function estimate"
    assert described["circuit_breaker"][0]["records"].startswith("function ")


def test_differences_name_the_option_and_its_element() -> None:
    other = replace(
        CONFIG,
        timeout=5.0,
        credits=None,
        rate_limit=RateLimit.fixed_window("ip", limit=3, window=60, scope="ip", cost=estimate),
        circuit_breaker=replace(CONFIG.breakers[0], open_for=9),
    )
    found = {
        change.path: (change.before, change.after)
        for change in differences(describe(CONFIG), describe(other))
    }
    assert found == {
        "timeout": (30.0, 5.0),
        "credits.cost": (3, None),
        "credits.settle": ("strict", None),
        "rate_limit.ip.quota": (9, 3),
        "circuit_breaker.weather.open_for": (5.0, 9),
    }


def test_equal_policies_do_not_differ() -> None:
    assert differences(describe(CONFIG), describe(CONFIG)) == ()


def test_a_list_without_elements_is_one_where_all_of_them_are_missing() -> None:
    changes = differences(describe(JobConfig(rate_limit=None)), describe(JobConfig()))
    assert {change.path.rpartition(".")[0] for change in changes} == {"rate_limit.user"}
    assert {change.before for change in changes} == {None}
