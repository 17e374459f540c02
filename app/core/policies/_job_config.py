"""One object per endpoint: which policies apply, with which options. Frozen, checked when built, ``None`` = not used."""

from dataclasses import dataclass
from typing import Literal, Self, TypedDict, TypeVar, Unpack

from app.core.policies._circuit import Breaker
from app.core.policies._concurrency import Bulkhead, Concurrency
from app.core.policies._credits import Credits
from app.core.policies._encryption import Encryption
from app.core.policies._extra import ExtraPolicy
from app.core.policies._idempotency import Idempotency
from app.core.policies._quota import Quota
from app.core.policies._rate_limit import RateLimit
from app.core.policies._response_cache import ResponseCache
from app.core.policies._retry import Retry
from app.core.policies._security import Security
from app.core.policies._webhook import WebhookSignature
from app.core.policies._words import one_of

Priority = Literal["critical", "default", "sheddable"]
T = TypeVar("T")

PER_PRINCIPAL = RateLimit(name="user", algorithm="token_bucket", quota=600, window=60, burst=60)
PER_IP = RateLimit(name="ip", algorithm="token_bucket", quota=300, window=60, burst=60, scope="ip")

_DAY_S = 86_400.0
# Scopes whose keys live in the caller's own Cluster slot; a set that must be atomic may use no other (reference: slots).
_CALLERS_SLOT = frozenset(("user", "api_key"))


class PublicOptions(TypedDict, total=False):
    """What a public endpoint may choose besides its limits: all but what needs an account."""

    webhook: WebhookSignature | None
    idempotency: Idempotency | None
    cache: ResponseCache | None
    concurrency: Concurrency | tuple[Concurrency, ...] | None
    bulkhead: Bulkhead | None
    circuit_breaker: Breaker | tuple[Breaker, ...] | None
    retry: Retry | None
    invalidates: tuple[str, ...]
    extra: tuple[ExtraPolicy, ...]
    priority: Priority
    encryption: bool | Encryption
    shadow: bool
    timeout: float | None
    max_body: int | None
    metrics: bool
    tracing: bool
    logging: bool


def _tuple(value: T | tuple[T, ...] | None) -> tuple[T, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobConfig:
    """What guards an endpoint. ``JobConfig()`` alone is safe for production.

    | field      | default                      | None means |
    |------------|------------------------------|------------|
    | security   | a valid token                | refused: use ``JobConfig.public()`` |
    | rate_limit | 600 a minute per principal, 60 at once | no limit |
    | webhook, idempotency, cache, quota, credits, concurrency, bulkhead, circuit_breaker, retry | None | not used |
    | invalidates | (): tags whose cached answers end when a request of this endpoint has committed | (a tuple) |
    | extra | (): rules of your own, asked before ADMIT | (a tuple) |
    | priority   | default; ``sheddable`` is refused first when the process is nearly full, ``critical`` last | (a word) |
    | encryption | False: what is kept of answers (cache, idempotency) is stored as it is; True: sealed with ENCRYPTION_KEYS;
      ``Encryption(...)``: sealed too, and named fields of bodies are encrypted | (boolean) |
    | shadow     | False; True: limits, quotas, slots and credits record refusals and refuse nobody | (boolean) |
    | timeout    | 30 seconds for the handler   | no deadline |
    | max_body   | 1,048,576 bytes              | the service's own cap |
    | metrics    | handler times in ``api_latency_seconds`` | (boolean) |
    | tracing    | a span around the handler, when the service traces | (boolean) |
    | logging    | a line in the access log; 500 and above are always logged | (boolean) |
    | atomic     | False: all limits in one step on one server; on a Cluster limits of other slots in steps of their own | |

    ``rate_limit`` takes one limit or a tuple; all must agree, and what each is charged when another refuses is its own ``charge``.
    Raises ValueError for options that contradict each other.
    """

    security: Security = Security()  # noqa: RUF009 - frozen
    rate_limit: RateLimit | tuple[RateLimit, ...] | None = PER_PRINCIPAL
    webhook: WebhookSignature | None = None
    idempotency: Idempotency | None = None
    cache: ResponseCache | None = None
    quota: Quota | tuple[Quota, ...] | None = None
    credits: Credits | None = None
    concurrency: Concurrency | tuple[Concurrency, ...] | None = None
    bulkhead: Bulkhead | None = None
    circuit_breaker: Breaker | tuple[Breaker, ...] | None = None
    retry: Retry | None = None
    invalidates: tuple[str, ...] = ()
    extra: tuple[ExtraPolicy, ...] = ()
    priority: Priority = "default"
    encryption: bool | Encryption = False
    shadow: bool = False
    timeout: float | None = 30.0
    max_body: int | None = 1_048_576
    metrics: bool = True
    tracing: bool = True
    logging: bool = True
    atomic: bool = False

    def __post_init__(self) -> None:
        if self.security is None:
            raise ValueError(
                "JobConfig.security cannot be None; JobConfig.public() is the way to let anonymous callers in"
            )
        if self.timeout is not None and not 0 < self.timeout <= 3600:
            raise ValueError(
                f"JobConfig.timeout must be more than 0 and at most 3600 seconds, not {self.timeout}"
            )
        if self.max_body is not None and self.max_body < 0:
            raise ValueError(f"JobConfig.max_body must not be negative, not {self.max_body}")
        one_of("JobConfig", "priority", self.priority, Priority)
        if not isinstance(self.encryption, bool | Encryption):
            raise ValueError(  # noqa: TRY004 - options raise ValueError
                f"JobConfig.encryption must be True, False or Encryption(...), not {self.encryption!r}"
            )
        names = [limit.name for limit in self.limits]
        names += [quota.name for quota in self.quotas]
        names += [slot.name for slot in self.slots]
        names += [rule.name for rule in self.extra]
        if len(set(names)) != len(names):
            raise ValueError(
                f"JobConfig: limits, quotas, slots and extra rules: names must differ, not {names}"
            )
        self._check_identity()
        self._check_webhook()
        shared = [limit.shared for limit in self.limits if limit.shared is not None]
        if len(set(shared)) != len(shared):
            raise ValueError(
                f"JobConfig.rate_limit: two limits of one endpoint cannot share one bucket, as in {shared}"
            )
        if self.security.anonymous and not any(
            "ip" in limit.scopes and not limit.shadow for limit in self.limits
        ):
            raise ValueError("JobConfig.public() keeps a limit per IP: add one with scope='ip'")

    def _check_identity(self) -> None:
        if self.security.anonymous:
            needing = [name for name in ("quota", "credits") if getattr(self, name) is not None]
            if needing:
                raise ValueError(f"JobConfig.{needing[0]} needs an account; a public endpoint has none")
        elif self.cache is not None and self.cache.scope == "public" and not self.cache.shared_with_all:
            raise ValueError(
                "JobConfig.cache: scope='public' on an endpoint that needs a token shows one caller's answer to all; "
                "say shared_with_all=True if that is meant"
            )

        if self.credits is not None and self.idempotency is not None and self.idempotency.retention < _DAY_S:
            # The charge is known by the key and the day: run again under it, the second time would be free.
            raise ValueError(
                "JobConfig.idempotency: retention must be at least a day where credits are charged, or the same key would run again "
                f"and be charged once; it is {self.idempotency.retention:g} seconds"
            )

    def _check_webhook(self) -> None:
        clashing = [
            name
            for name in ("idempotency", "cache", "credits")
            if self.webhook and getattr(self, name) is not None
        ]
        if clashing:
            raise ValueError(
                f"JobConfig.webhook: a message is worked on once, by its own id and for its sender; drop {clashing[0]}"
            )

    @property
    def repeats(self) -> Idempotency | None:
        """How a request that comes again is known: ``idempotency``, or that of ``webhook``; None: it is not."""
        return self.webhook.repeats if self.webhook is not None else self.idempotency

    @property
    def encrypted_fields(self) -> Encryption | None:
        """Which fields of bodies are encrypted, if any are."""
        return self.encryption if isinstance(self.encryption, Encryption) else None

    @property
    def limits(self) -> tuple[RateLimit, ...]:
        """The rate limits as a tuple, in order."""
        return _tuple(self.rate_limit)

    @property
    def has_terms(self) -> bool:
        """Whether anything but rate limits is asked of the store, or must be given back."""
        kept = (self.webhook, self.idempotency, self.cache, self.quota, self.credits, self.concurrency)
        refundable = any(limit.charge == "admit" for limit in self.limits)
        return refundable or self.circuit_breaker is not None or any(part is not None for part in kept)

    @property
    def quotas(self) -> tuple[Quota, ...]:
        """The quotas as a tuple, in order."""
        return _tuple(self.quota)

    @property
    def slots(self) -> tuple[Concurrency, ...]:
        """The concurrency slots as a tuple, in order."""
        return _tuple(self.concurrency)

    @property
    def breakers(self) -> tuple[Breaker, ...]:
        """The circuit breakers as a tuple, in order."""
        return _tuple(self.circuit_breaker)

    @property
    def outside_slot(self) -> tuple[str, ...]:
        """Names of what cannot share the caller's slot of a Cluster; must be empty when ``atomic``."""
        names = [limit.name for limit in self.limits if not _CALLERS_SLOT.intersection(limit.scopes)]
        names += [slot.name for slot in self.slots if slot.scope != "user"]
        if self.webhook is not None:
            names.append("webhook")
        # Each tag has a slot of its own, whoever the answer belongs to.
        if self.cache is not None and (self.cache.scope != "user" or self.cache.tags):
            names.append("cache")
        return tuple(names)

    @classmethod
    def public(
        cls,
        *,
        rate_limit: RateLimit | tuple[RateLimit, ...] = PER_IP,
        **options: Unpack[PublicOptions],
    ) -> Self:
        """Open to anonymous callers, with a limit per IP (300 a minute, 60 at once). A token that is presented must be valid."""
        return cls(security=Security(anonymous=True), rate_limit=rate_limit, **options)
