"""Shadow mode: a policy that watches before it acts."""

from dataclasses import replace

from app.core.policies._job_config import JobConfig
from app.core.policies._quota import Quota
from app.core.policies._rate_limit import RateLimit


def shadowed(config: JobConfig) -> JobConfig:
    """The config whose limits and quotas are in shadow when ``config.shadow`` says so; otherwise ``config`` itself.

    A limit that refuses while Valkey is down (``closed``) counts locally instead: in shadow nobody is refused. Slots and credits look at
    ``config.shadow`` themselves. Not in shadow, ever: authentication, scopes and roles, idempotency, circuit breakers, the timeout; and
    on a public endpoint the limits per IP, without which it would be open to everybody.
    """
    if not config.shadow:
        return config
    keeps_ip = config.security.anonymous
    limits = tuple(
        limit if keeps_ip and "ip" in limit.scopes else _shadow_limit(limit) for limit in config.limits
    )
    quotas = tuple(_shadow_quota(quota) for quota in config.quotas)
    return replace(config, rate_limit=limits or None, quota=quotas or None)


def _shadow_limit(limit: RateLimit) -> RateLimit:
    return replace(
        limit,
        shadow=True,
        on_store_down="local" if limit.on_store_down == "closed" else limit.on_store_down,
    )


def _shadow_quota(quota: Quota) -> Quota:
    return replace(
        quota,
        shadow=True,
        on_store_down="local" if quota.on_store_down == "closed" else quota.on_store_down,
    )
