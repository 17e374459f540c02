"""Overrides: what an operator writes becomes a new config, or stops the start by name."""

import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import ConfigurationError
from app.core.policies import (
    Breaker,
    Bulkhead,
    Concurrency,
    Credits,
    Idempotency,
    JobConfig,
    Quota,
    RateLimit,
    ResponseCache,
    Retry,
    Security,
    WebhookSignature,
)
from app.core.policies._overrides import Override, Overrides
from tests.cases import each_case

FULL = JobConfig(
    security=Security(scopes=("read:records",), roles=("db_reader", "admin"), mfa=True, max_age=300),
    rate_limit=(
        RateLimit.token_bucket("user", max_tokens=60, refill_rate=10),
        RateLimit.fixed_window("ip", limit=600, window=60, scope="ip", cost=lambda _: 2),
    ),
    idempotency=Idempotency(),
    cache=ResponseCache(ttl=60, scope="tenant"),
    quota=Quota(per="day", limit={"default": 100}),
    credits=Credits(cost=2),
    concurrency=(Concurrency(max=5, name="mine"), Concurrency(max=50, name="all", scope="route")),
    circuit_breaker=Breaker(dependency="weather"),
    retry=Retry(retry_safe=True),
    encryption=True,
)
HOOK = JobConfig.public(webhook=WebhookSignature(source="payments"))


def of(**variables: str) -> Overrides:
    return Overrides.load(None, {f"POLICIES__{name}": value for name, value in variables.items()})


def applied(config: JobConfig = FULL, /, **variables: str) -> JobConfig:
    return of(**{f"GET__{name}": value for name, value in variables.items()}).apply("get", config)


def file_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "policies.toml"
    path.write_text(text)
    return path


def user(config: JobConfig) -> RateLimit:
    return config.limits[0]


@each_case(
    ("variable", "value", "read", "expected"),
    [
        ("TIMEOUT", "5", lambda c: c.timeout, 5.0),
        ("TIMEOUT", "none", lambda c: c.timeout, None),
        ("MAX_BODY", "100", lambda c: c.max_body, 100),
        ("SHADOW", "true", lambda c: c.shadow, True),
        ("LOGGING", "off", lambda c: c.logging, False),
        ("PRIORITY", "critical", lambda c: c.priority, "critical"),
        ("CACHE", "off", lambda c: c.cache, None),
        ("CREDITS", "off", lambda c: c.credits, None),
        ("CACHE__TTL", "7.5", lambda c: c.cache.ttl, 7.5),
        ("CACHE__TAGS", "a,b", lambda c: c.cache.tags, ("a", "b")),
        ("CACHE__HIT_COST", "0", lambda c: c.cache.hit_cost, 0),
        ("CACHE__OUTAGE_MAX", "4", lambda c: c.cache.outage_max, 4),
        ("CACHE__SCOPE", "user", lambda c: c.cache.scope, "user"),
        ("CREDITS__COST", "9", lambda c: c.credits.cost, 9),
        ("IDEMPOTENCY__REQUIRED", "yes", lambda c: c.idempotency.required, True),
        ("RATE_LIMIT__IP", "off", lambda c: [limit.name for limit in c.limits], ["user"]),
        ("RATE_LIMIT__IP__COST", "3", lambda c: c.limits[1].cost, 3),
        ("RATE_LIMIT__IP__SCOPE", "user,ip", lambda c: c.limits[1].scopes, ("user", "ip")),
        ("RATE_LIMIT__IP__QUOTA", "10", lambda c: c.limits[1].quota, 10),
        ("RATE_LIMIT", "off", lambda c: c.limits, ()),
        ("QUOTA__DAY__LIMIT", "7", lambda c: c.quotas[0].limit_of("pro"), 7),
        ("QUOTA__DAY__LIMIT", '{"default": 1, "pro": 2}', lambda c: c.quotas[0].limit_of("pro"), 2),
        ("QUOTA__DAY", "off", lambda c: c.quota, None),
        ("CONCURRENCY__ALL__MAX", "3", lambda c: [slot.max for slot in c.slots], [5, 3]),
        ("CIRCUIT_BREAKER__WEATHER__OPEN_FOR", "9", lambda c: c.breakers[0].open_for, 9.0),
        ("RETRY__ATTEMPTS", "2", lambda c: c.retry.attempts, 2),
        ("RETRY", "off", lambda c: c.retry, None),
        ("BULKHEAD__MAX", "4", lambda c: c.bulkhead, Bulkhead(max=4)),
        ("SECURITY__SCOPES", "read:records,read:more", lambda c: len(c.security.scopes), 2),
        ("SECURITY__ROLES", "admin", lambda c: c.security.roles, ("admin",)),
        ("SECURITY__MAX_AGE", "60", lambda c: c.security.max_age, 60),
    ],
)
def test_an_option_is_changed_by_its_name(variable: str, value: str, read: Any, expected: Any) -> None:
    assert read(applied(**{variable: value})) == expected
    assert read(FULL) != expected


def test_nothing_else_changes_and_a_policy_without_overrides_keeps_its_object() -> None:
    assert applied(TIMEOUT="5") == replace(FULL, timeout=5.0)
    assert of(OTHER__TIMEOUT="5").apply("get", FULL) is FULL


class TestTokenBucket:
    def test_max_tokens_and_refill_rate_are_understood(self) -> None:
        changed = user(applied(RATE_LIMIT__USER__MAX_TOKENS="5", RATE_LIMIT__USER__REFILL_RATE="1"))
        assert changed == RateLimit.token_bucket("user", max_tokens=5, refill_rate=1)

    def test_one_of_them_leaves_the_other(self) -> None:
        assert user(applied(RATE_LIMIT__USER__MAX_TOKENS="20")) == RateLimit.token_bucket(
            "user", max_tokens=20, refill_rate=10
        )
        assert user(applied(RATE_LIMIT__USER__REFILL_RATE="2")) == RateLimit.token_bucket(
            "user", max_tokens=60, refill_rate=2
        )

    def test_a_burst_that_was_the_quota_follows_it(self) -> None:
        changed = user(applied(RATE_LIMIT__USER__QUOTA="10"))
        assert (changed.quota, changed.burst, changed.window) == (10, 10, 6)
        changed = user(applied(RATE_LIMIT__USER__QUOTA="10", RATE_LIMIT__USER__BURST="3"))
        assert (changed.quota, changed.burst) == (10, 3)

    def test_they_do_not_mix_with_quota_and_need_a_bucket(self) -> None:
        with pytest.raises(ConfigurationError, match="in place of quota"):
            applied(RATE_LIMIT__USER__MAX_TOKENS="5", RATE_LIMIT__USER__QUOTA="5")
        with pytest.raises(ConfigurationError, match="are for a token_bucket"):
            applied(RATE_LIMIT__IP__MAX_TOKENS="5")


@each_case(
    ("variable", "value", "says"),
    [
        ("TIMOUT", "5", "JobConfig has no field timout (did you mean timeout?); allowed: security, rate_limit"),
        ("TIMEOUT", "soon", "must be a number or none, not 'soon'"),
        ("TIMEOUT", "nan", "must be a number"),
        ("TIMEOUT", "0", "JobConfig.timeout must be more than 0"),
        ("TIMEOUT__SECONDS", "5", "timeout.seconds leads too deep"),
        ("SHADOW", "perhaps", "must be true or false, not 'perhaps'"),
        ("PRIORITY", "high", "must be one of critical, default, sheddable, not 'high'"),
        ("CACHE", "on", "must be off, or have the name of an option behind it"),
        ("CACHE__TLL", "5", "cache has no option tll (did you mean ttl?); allowed: ttl, stale"),
        ("CACHE__TTL", "x", "cache.ttl must be a number, not 'x'"),
        ("CACHE__TTL", "0.01", "ResponseCache.ttl must be 0.1 to 86,400"),
        ("CACHE__TTL__X", "1", "cache.ttl.x leads too deep"),
        ("RATE_LIMIT__USR__QUOTA", "5", "rate_limit has no usr (did you mean user?); allowed: user, ip"),
        ("RATE_LIMIT__USER__QUTA", "5", "rate_limit.user has no option quta (did you mean quota?)"),
        ("RATE_LIMIT__USER__QUOTA", "1.5", "rate_limit.user.quota must be a whole number, not '1.5'"),
        ("RATE_LIMIT__USER__QUOTA", "0", "quota must be 1 to 1,000,000,000"),
        ("RATE_LIMIT__USER", "5", "must be off, or have the name of an option behind it"),
        ("RATE_LIMIT__USER__SCOPE", "users", "must be one of user, ip, api_key, tenant, route, global"),
        ("RATE_LIMIT__USER__NAME", "x", "name can be changed in code only"),
        ("CIRCUIT_BREAKER__WEATHER__DEPENDENCY", "x", "dependency can be changed in code only"),
        ("CIRCUIT_BREAKER__WEATHER__RECORDS", "x", "is a function or a class and can be changed in code only"),
        ("RETRY__EXCEPTIONS", "ValueError", "must be none"),
        ("RETRY__RETRY_SAFE", "true", "retry_safe can be changed in code only"),
        ("QUOTA__DAY__LIMIT", "[1]", "must be a whole number or a table, or JSON"),
        ("QUOTA__DAY__LIMIT", '{"pro": 1}', "must say what 'default' gets"),
        ("SECURITY", "off", "security cannot be switched off"),
        ("SECURITY__ANONYMOUS", "true", "anonymous can be changed in code only"),
        ("SECURITY__API_KEYS", "true", "api_keys can be changed in code only"),
        ("SECURITY__SCOPES", "read:more", "security.scopes can only grow: read:records must stay"),
        ("SECURITY__ROLES", "admin,cpu_user", "security.roles can only shrink"),
        ("SECURITY__MFA", "false", "security.mfa cannot be switched off by an override"),
        ("SECURITY__MAX_AGE", "301", "security.max_age can only become shorter than 300"),
        ("SECURITY__MAX_AGE", "none", "security.max_age can only become shorter than 300"),
        ("SECURITY__MAX_AGE", "0", "Security.max_age must be 1 to 31536000 whole seconds, not 0"),
        ("ENCRYPTION", "false", "encryption cannot be switched off"),
        ("CACHE__SCOPE", "public", "shared_with_all=True"),
        ("CACHE__SHARED_WITH_ALL", "true", "shared_with_all can be changed in code only"),
    ],
)  # fmt: skip
def test_what_is_wrong_stops_the_start_and_names_the_variable(variable: str, value: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        applied(**{variable: value})
    assert str(refusal.value).startswith(f"POLICIES__GET__{variable}: ")
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("config", "variable", "value", "says"),
    [
        (JobConfig(), "CACHE__SCOPE", "user", "cache is not used by this policy"),
        (JobConfig(cache=ResponseCache(ttl=1)), "CACHE__SCOPE", "tenant", "can only become narrower"),
        (JobConfig(), "QUOTA__DAY__LIMIT", "5", "quota has no day; allowed: none"),
        (JobConfig.public(), "RATE_LIMIT__IP", "off", "keeps a limit per IP"),
        (JobConfig.public(), "CREDITS__COST", "5", "needs an account"),
        (JobConfig.public(), "SECURITY__SCOPES", "read:x", "an anonymous caller has no scopes"),
        (HOOK, "WEBHOOK", "off", "webhook cannot be switched off"),
        (HOOK, "WEBHOOK__SOURCE", "others", "or given to another source"),
        (HOOK, "WEBHOOK__TOLERANCE", "301", "tolerance can only shrink: at most 300"),
    ],
)
def test_what_contradicts_the_rest_of_the_policy_is_refused(
    config: JobConfig, variable: str, value: str, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as refusal:
        applied(config, **{variable: value})
    assert f"POLICIES__GET__{variable}" in str(refusal.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        applied(TIMEOUT="x", CACHE__TTL="y")
    assert "POLICIES__GET__TIMEOUT: " in str(refusal.value)
    assert "POLICIES__GET__CACHE__TTL: " in str(refusal.value)


def test_a_whole_and_a_part_of_it_contradict_each_other() -> None:
    with pytest.raises(ConfigurationError, match="the whole is written and a part of it"):
        applied(CACHE="off", CACHE__TTL="5")


@each_case("variable", ["POLICIES__", "POLICIES__GET", "POLICIES__GET__", "POLICIES__9X__TIMEOUT"])
def test_a_variable_that_names_no_policy_and_field_is_refused(variable: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{variable}: write POLICIES__<NAME>__<FIELD>"):
        Overrides.load(None, {variable: "1"})


def test_names_are_read_in_any_case_and_never_twice() -> None:
    overrides = Overrides.load(None, {"policies__Get__timeout": "5"})
    assert overrides.apply("get", FULL).timeout == 5
    with pytest.raises(ConfigurationError, match="are one override"):
        Overrides.load(None, {"POLICIES__GET__TIMEOUT": "5", "policies__get__timeout": "6"})


def test_empty_and_foreign_variables_are_nothing() -> None:
    assert (
        Overrides.load(None, {"POLICIES__GET__TIMEOUT": " ", "POLICIES_FILE": "x", "PATH": "x"}).entries == ()
    )


def test_a_policy_that_nobody_has_is_found() -> None:
    (finding,) = of(RECORDS_GOT__TIMEOUT="5", RECORDS_GET__TIMEOUT="5").unused(["records_get", "users_me"])
    assert finding == (
        "POLICIES__RECORDS_GOT__TIMEOUT: there is no policy records_got (did you mean records_get?); allowed: records_get, users_me"
    )


class TestFile:
    TEXT = """
        [get]
        timeout = 5
        shadow = true
        credits = "off"
        [get.cache]
        ttl = 9
        tags = ["a"]
        [get.rate_limit.user]
        max_tokens = 5
        refill_rate = 0.5
        [get.quota.day]
        limit = { default = 1, pro = 10 }
    """

    def test_it_says_the_same_with_types(self, tmp_path: Path) -> None:
        changed = Overrides.load(file_of(tmp_path, self.TEXT), {}).apply("get", FULL)
        assert (changed.timeout, changed.shadow, changed.credits) == (5.0, True, None)
        assert changed.cache == ResponseCache(ttl=9, scope="tenant", tags=("a",))
        assert user(changed) == RateLimit.token_bucket("user", max_tokens=5, refill_rate=0.5)
        assert changed.quotas[0].limit_of("pro") == 10

    def test_the_environment_wins_whatever_the_length_of_the_path(self, tmp_path: Path) -> None:
        environ = {
            "POLICIES__GET__TIMEOUT": "7",
            "POLICIES__GET__CACHE": "off",
            "POLICIES__GET__CREDITS__COST": "3",
            "POLICIES__GET__RATE_LIMIT__USER__MAX_TOKENS": "6",
        }
        changed = Overrides.load(file_of(tmp_path, self.TEXT), environ).apply("get", FULL)
        assert (changed.timeout, changed.cache, changed.credits) == (7.0, None, Credits(cost=3))
        assert user(changed) == RateLimit.token_bucket("user", max_tokens=6, refill_rate=0.5)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("[get\n", "is no TOML: .*line 1"),
            ("timeout = 5", "timeout: write a table"),
            ("[Get]\ntimeout = 5", "Get: write a table"),
            ("[get]\ntimeout = true", "get.timeout: must be a number or none, not True"),
            ("[get]\nmax_body = '5x'", "get.max_body: must be a whole number or none"),
            ("[get]\nshadow = 1", "get.shadow: must be true or false, not 1"),
            ("[get]\ncache = { tll = 1 }", "get.cache.tll: cache has no option tll"),
            ("[get.rate_limit.user.quota]\nx = 1", "get.rate_limit.user.quota: .* must be a whole number"),
            ("[get]\nrate_limit = 5", "get.rate_limit: must be off"),
            ("[get.timeout]\nx = 1", "get.timeout: must be a number"),
        ],
    )
    def test_what_is_wrong_names_the_file_and_the_key(self, tmp_path: Path, text: str, says: str) -> None:
        with pytest.raises(ConfigurationError, match=f"policies.toml.*{says}"):
            Overrides.load(file_of(tmp_path, text), {}).apply("get", FULL)

    def test_a_file_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"none.toml cannot be read: No such file"):
            Overrides.load(tmp_path / "none.toml", {})

    def test_a_file_that_is_not_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "policies.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigurationError, match="is no TOML"):
            Overrides.load(tmp_path / "policies.toml", {})


def test_what_was_changed_can_be_asked_for_with_its_source(tmp_path: Path) -> None:
    path = file_of(tmp_path, "[get]\ncredits = 'off'\ntimeout = 9")
    overrides = Overrides.load(
        path, {"POLICIES__GET__TIMEOUT": "5", "POLICIES__GET__RATE_LIMIT__USER__QUOTA": "7"}
    )
    assert overrides.applied("get") == ()
    overrides.apply("get", FULL)
    changes = overrides.applied("get")
    assert Override("timeout", 30.0, 5.0, "POLICIES__GET__TIMEOUT") in changes
    assert Override("rate_limit.user.quota", 60, 7, "POLICIES__GET__RATE_LIMIT__USER__QUOTA") in changes
    assert Override("credits.cost", 2, None, f"{path}: get.credits") in changes
    assert {change.path.split(".")[0] for change in changes} == {"timeout", "rate_limit", "credits"}


def test_any_nonsense_is_a_configuration_error_and_never_another() -> None:
    chosen = random.Random(3)
    words = [
        "cache",
        "rate_limit",
        "user",
        "quota",
        "ttl",
        "scope",
        "security",
        "scopes",
        "limit",
        "day",
        "x",
        "off",
    ]
    values = [
        "off",
        "1",
        "-1",
        "1e400",
        "none",
        "{}",
        "[]",
        "user",
        ",",
        "é",
        "\x00",
        "1_000",
        "true",
        "9" * 400,
    ]
    for _ in range(3000):
        name = "__".join(chosen.choices(words, k=chosen.randint(1, 4))).upper()
        with suppress(ConfigurationError):
            assert isinstance(applied(**{name: chosen.choice(values)}), JobConfig)
