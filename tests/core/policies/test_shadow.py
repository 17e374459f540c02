"""Shadow mode of a whole policy."""

from app.core.policies import JobConfig, Quota, RateLimit, Security, shadowed

LIMITS = (
    RateLimit.fixed_window("user", limit=9, window=60, on_store_down="closed"),
    RateLimit.fixed_window("ip", limit=9, window=60, scope="ip", on_store_down="open"),
)


def test_every_limit_and_quota_watches_and_none_refuses_even_in_an_outage() -> None:
    config = JobConfig(
        rate_limit=LIMITS, quota=Quota(per="day", limit=1, on_store_down="closed"), shadow=True
    )
    changed = shadowed(config)
    assert [(limit.shadow, limit.on_store_down) for limit in changed.limits] == [
        (True, "local"),
        (True, "open"),
    ]
    assert [(quota.shadow, quota.on_store_down) for quota in changed.quotas] == [(True, "local")]
    assert (changed.security, changed.timeout, changed.shadow) == (config.security, config.timeout, True)


def test_without_shadow_it_is_the_same_object() -> None:
    config = JobConfig(rate_limit=LIMITS)
    assert shadowed(config) is config


def test_a_policy_without_limits_stays_without() -> None:
    changed = shadowed(JobConfig(rate_limit=None, security=Security(roles=("admin",)), shadow=True))
    assert (changed.limits, changed.quotas) == ((), ())


def test_a_public_endpoint_keeps_its_limit_per_ip() -> None:
    changed = shadowed(JobConfig.public(rate_limit=LIMITS, shadow=True))
    assert [(limit.name, limit.shadow) for limit in changed.limits] == [("user", True), ("ip", False)]
