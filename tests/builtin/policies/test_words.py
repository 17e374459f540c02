"""What a person reads about a policy."""

from dataclasses import fields
from typing import Any

from app.builtin.policies.schemas import OverrideOut, RoutePolicy
from app.builtin.policies.service import grouped, in_words
from app.core.policies import (
    Breaker,
    Bulkhead,
    Concurrency,
    Credits,
    Encryption,
    Idempotency,
    JobConfig,
    Quota,
    RateLimit,
    ResponseCache,
    Retry,
    Security,
    WebhookSignature,
    describe,
)
from tests.cases import each_case

OTHER: dict[str, Any] = {
    "security": Security(scopes=("a:b", "c:d"), roles=("x", "y"), mfa=True, max_age=300, api_keys=False),
    "webhook": WebhookSignature(source="shop"),
    "rate_limit": RateLimit.sliding_window("all", limit=1000, window=90, scope=("user", "ip"), shared="s", shadow=True),
    "idempotency": Idempotency(required=True), "cache": ResponseCache(ttl=90, stale=3600, tags=("t",)),
    "quota": Quota(per="day", limit={"default": 1000, "pro": 5}, cost=3), "credits": Credits(cost=1), "concurrency": Concurrency(max=2),
    "bulkhead": Bulkhead(max=3), "circuit_breaker": Breaker(dependency="weather"), "retry": Retry(retry_safe=True), "invalidates": ("tag",),
    "priority": "critical", "encryption": Encryption(response=("ssn",)), "shadow": True, "timeout": 90.0, "max_body": 1000,
    "metrics": False, "tracing": False, "logging": False, "atomic": True,
}  # fmt: skip
WORDS = {
    "security": "a valid token with the scopes a:b and c:d, and the role x or y, signed in with a second factor, signed in within "
    "the last 5 minutes",
    "webhook": "messages signed by shop, at most 5 minutes old; each is worked on once, its answer is kept for 1 day in Valkey",
    "rate_limit": "1,000 in 90 seconds per user and client network, counted over the time before each request, shared with all that say s, "
    "recorded only, refuses nobody",
    "idempotency": "a key is required with POST, PATCH; results are kept for 1 day in Valkey",
    "cache": "fresh for 90 seconds, kept for each user, stale for 1 hour more, ends with t",
    "quota": "default 1,000, pro 5 a day, a request takes 3",
    "credits": "1 credit a request, strict",
    "concurrency": "2 at once per user",
    "bulkhead": "3 handlers at once in a process, 0 may wait for 1 second",
    "circuit_breaker": "weather: opens when 50% of 20 calls or more in 10 seconds fail, for 5 seconds",
    "retry": "3 attempts, with at most 20% more calls",
    "encryption": "response ['ssn']",
    "timeout": "90 seconds",
    "max_body": "1,000 bytes",
    "metrics": "no",
}


def route(config: JobConfig, *changes: OverrideOut, path: str = "/a") -> RoutePolicy:
    return RoutePolicy(
        path=path, methods=["GET"], kind="gated", name="a", reason=None, config=describe(config), overridden=list(changes)
    )  # fmt: skip


@each_case("field", [field.name for field in fields(JobConfig) if field.name != "extra"])
def test_every_option_that_is_not_as_always_has_a_line(field: str) -> None:
    """An option that is added to JobConfig fails here until somebody has thought of its words."""
    usual = {line.label for line in in_words(route(JobConfig()))}
    lines = in_words(route(JobConfig(**{field: OTHER[field]})))
    shown = [line for line in lines if line.label not in usual] or [
        line for line in lines if line not in in_words(route(JobConfig()))
    ]
    assert len(shown) == 1
    assert shown[0].texts[0]
    if field in WORDS:
        assert shown[0].texts[0] == WORDS[field]


def test_the_plain_policy_is_three_lines() -> None:
    lines = [(line.label, line.texts) for line in in_words(route(JobConfig()))]
    assert lines == [
        ("Who may call", ["a valid token or API key"]),
        ("Limits", ["600 a minute per user, 60 at once"]),
        ("Time", ["30 seconds"]),
    ]
    public = in_words(route(JobConfig.public(timeout=None)))
    assert public[0].texts == ["anybody; a token that is presented must be valid"]
    assert (public[-1].label, public[-1].texts) == ("Time", ["none"])


def test_what_was_changed_stands_with_what_it_is_about_also_when_nothing_is_left_of_it() -> None:
    changes = [
        OverrideOut(option=option, default=1, effective=None, source="here")
        for option in ("cache.ttl", "cache.stale", "timeout")
    ]
    found = {line.label: line for line in in_words(route(JobConfig(), *changes))}
    assert found["Answers kept"].texts == ["none"]
    assert [change.text for change in found["Answers kept"].changed] == [
        "cache.ttl is off, in the code 1",
        "cache.stale is off, in the code 1",
    ]
    assert found["Time"].changed == [("timeout is off, in the code 1", "here")]


@each_case(
    ("limit", "words"),
    [
        (RateLimit.throttle("a", rate=2), "2 a second per user, evenly spaced"),
        (RateLimit.debounce("a", interval=90, on_store_down="closed"),
         "one per user, after 90 seconds without an attempt, refuses while Valkey is away"),
        (RateLimit.fixed_window("a", limit=5, window=86_400, scope="tenant", charge="admit", cost=2),
         "5 a day per tenant, a request takes 2, charged only when it is let in"),
        (RateLimit.token_bucket("a", max_tokens=5, refill_rate=1), "5 in 5 seconds per user, 5 at once"),
    ],
)  # fmt: skip
def test_each_kind_of_limit_has_its_words(limit: RateLimit, words: str) -> None:
    assert in_words(route(JobConfig(rate_limit=limit)))[1].texts == [words]


def test_routes_are_grouped_by_what_their_paths_begin_with() -> None:
    routes = [route(JobConfig(), path=path) for path in ("/b", "/ab", "/a/c", "/a", "/")]
    groups = [(group.title, [shown.route.path for shown in group.routes]) for group in grouped(routes)]
    assert groups == [("/", ["/"]), ("/a", ["/a", "/a/c"]), ("/ab", ["/ab"]), ("/b", ["/b"])]
