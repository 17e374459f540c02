"""Policies in short, and two states of them compared."""

from typing import Any

from app.cli._policies import Change, compare, summary
from app.core.policies import (
    Breaker,
    Concurrency,
    Credits,
    Idempotency,
    JobConfig,
    Quota,
    RateLimit,
    ResponseCache,
    Security,
    describe,
)


def route(path: str, config: JobConfig | None, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "path": path, "methods": ["GET"], "kind": "gated", "name": path.strip("/"), "reason": None,
        "config": describe(config) if config else None, "overridden": [],
    }  # fmt: skip
    return made | changes


FULL = JobConfig(
    security=Security(scopes=("read:x",), roles=("admin",)),
    rate_limit=RateLimit.token_bucket("user", max_tokens=5, refill_rate=1),
    quota=Quota(per="day", limit=9),
    concurrency=Concurrency(max=3),
    circuit_breaker=Breaker(dependency="weather"),
    idempotency=Idempotency(),
    cache=ResponseCache(ttl=1),
    credits=Credits(cost=2),
    shadow=True,
    timeout=5,
)


def test_a_route_in_short_names_everything_that_applies() -> None:
    assert summary(route("/full", FULL, overridden=[{}])) == (
        "full",
        "GET /full",
        "read:x admin",
        "user 5/5s, day quota, 3 at once per user, breaker weather, idempotency, cache, shadow, credits 2, 5s, 1 overridden",
    )


def test_who_may_call_what_names_nobody() -> None:
    assert summary(route("/a", JobConfig(rate_limit=None, timeout=None)))[2:] == ("a valid token", "")
    assert summary(route("/a", JobConfig.public()))[2] == "anybody"
    opened = route("/live", None, kind="open", name=None, reason="probe")
    assert summary(opened) == ("open", "GET /live", "", "probe")


def test_routes_that_came_and_went_and_options_that_changed_are_told() -> None:
    before = [
        route("/a", JobConfig()),
        route("/gone", JobConfig()),
        route("/live", None, name=None, kind="open"),
    ]
    after = [
        route("/a", JobConfig(timeout=5)),
        route("/new", JobConfig()),
        route("/live", None, name=None, kind="custom"),
    ]
    assert compare(before, after) == [
        Change("GET /a", "timeout", 30.0, 5),
        Change("GET /gone", None, "gone", None),
        Change("GET /live", "kind", "open", "custom"),
        Change("GET /new", None, None, "new"),
    ]


def test_the_order_of_routes_is_no_difference() -> None:
    routes = [route("/a", FULL), route("/b", JobConfig())]
    assert compare(routes, routes[::-1]) == []
