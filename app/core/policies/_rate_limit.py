"""What a limit is: data. How it is counted is in ``lua/admit.lua`` and ``_local.py``, where it is stored is ``_keys.py``."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self, TypedDict, Unpack, get_args

Algorithm = Literal["token_bucket", "fixed_window", "sliding_window", "throttle", "debounce"]
Scope = Literal["user", "ip", "api_key", "tenant", "route", "global"]
Charge = Literal["attempt", "admit"]
StoreDown = Literal["local", "open", "closed"]

SCOPES: frozenset[str] = frozenset(get_args(Scope))
_GCRA = ("token_bucket", "throttle")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
LARGEST = 2**53  # Lua counts in doubles: beyond this an integer is no longer exact.


def is_policy_name(name: str) -> bool:
    """Whether ``name`` may name a policy or a limit: it stands in keys, header fields and metrics."""
    return _NAME.fullmatch(name) is not None


class CostRequest(NamedTuple):
    """What a cost function may look at: the request's head, as the gate sees it before the body is read."""

    method: str
    path_params: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    content_length: int | None


Cost = int | Callable[[CostRequest], int]


class LimitOptions(TypedDict, total=False):
    """What every kind of limit takes besides its numbers; ``RateLimit`` says what each means."""

    cost: Cost
    scope: Scope | tuple[Scope, ...]
    charge: Charge
    shared: str | None
    shadow: bool
    on_store_down: StoreDown


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """One limit of an endpoint. Use the constructors named after the algorithms; they take the documents' arguments.

    name: unique within the endpoint's policy, ``[a-z][a-z0-9_]*``; it is shown to callers in ``RateLimit`` fields.
    quota, window: ``quota`` per ``window`` seconds; ``burst`` at once (GCRA only).
    cost: what one request takes, or a function of the request's head that returns it; 0 only looks.
    scope: whose requests are counted together. A tuple counts per combination. ``user`` is the caller, or his network where an
        endpoint is public and he is anonymous; ``api_key`` and ``tenant`` mean the user himself for a caller who has none; ``route``
        is everybody on this endpoint, ``global`` everybody on every endpoint with a limit of this name.
    charge: ``attempt`` is charged whenever it has room, even if another limit refuses or the request turns out wrong: right against
        abuse. ``admit`` is charged only when all limits agree: right for quotas.
    shared: endpoints that give the same word spend one bucket; they must give the same parameters.
    shadow: record a refusal, do not refuse.
    on_store_down: while Valkey does not answer count in this process (``local``, quota divided by REPLICAS), let all pass (``open``),
        or refuse with 503 once the local count has had its say (``closed``: logins, one-time codes).

    Raises ValueError with the allowed range. Sources: GCRA as in ITU-T I.371; the fields of draft-ietf-httpapi-ratelimit-headers.
    """

    name: str
    algorithm: Algorithm
    quota: int
    window: float
    burst: int | None = None
    cost: Cost = 1
    scope: Scope | tuple[Scope, ...] = "user"
    charge: Charge = "attempt"
    shared: str | None = None
    shadow: bool = False
    on_store_down: StoreDown = "local"

    def __post_init__(self) -> None:
        for label, name in (("name", self.name), ("shared", self.shared)):
            if name is not None and not is_policy_name(name):
                raise ValueError(
                    f"RateLimit.{label} must match [a-z][a-z0-9_]* and be at most 63 characters, not {name!r}"
                )
        if not 1 <= self.quota <= 1_000_000_000:
            raise ValueError(f"RateLimit {self.name}: quota must be 1 to 1,000,000,000, not {self.quota}")
        if not 0.001 <= self.window <= 31_622_400:
            raise ValueError(
                f"RateLimit {self.name}: window must be 0.001 to 31,622,400 seconds, not {self.window}"
            )
        if self.burst is not None and not 1 <= self.burst <= 1_000_000_000:
            raise ValueError(f"RateLimit {self.name}: burst must be 1 to 1,000,000,000, not {self.burst}")
        self._check_words()
        self._check_scope()
        self._check_cost()
        if self.interval_us * self.largest_cost > LARGEST or (
            self.algorithm == "sliding_window" and self.quota * self.window * 1_000_000 > LARGEST
        ):
            raise ValueError(
                f"RateLimit {self.name}: quota x window is beyond exact counting; take a shorter window or a token bucket"
            )

    def _check_words(self) -> None:
        # A misspelt "closed" would otherwise quietly mean "local".
        words = (("algorithm", Algorithm), ("charge", Charge), ("on_store_down", StoreDown))
        for field, allowed in words:
            if getattr(self, field) not in get_args(allowed):
                raise ValueError(
                    f"RateLimit {self.name}: {field} must be one of {', '.join(get_args(allowed))}, not {getattr(self, field)!r}"
                )
        if self.burst is not None and self.algorithm not in _GCRA:
            raise ValueError(f"RateLimit {self.name}: burst is for a token bucket; {self.algorithm} has none")

    def _check_scope(self) -> None:
        if not self.scopes or set(self.scopes) - SCOPES or len(set(self.scopes)) != len(self.scopes):
            raise ValueError(
                f"RateLimit {self.name}: scope must be of {sorted(SCOPES)} without repetition, not {self.scope!r}"
            )
        if "global" in self.scopes and len(self.scopes) > 1:
            raise ValueError(f"RateLimit {self.name}: scope global stands alone")

    def _check_cost(self) -> None:
        if isinstance(self.cost, int) and not 0 <= self.cost <= self.largest_cost:
            raise ValueError(
                f"RateLimit {self.name}: cost must be 0 to {self.largest_cost}, not {self.cost}; more could never pass"
            )

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The scope as a tuple."""
        return self.scope if isinstance(self.scope, tuple) else (self.scope,)

    @property
    def largest_cost(self) -> int:
        """The most that one request can take and still pass an untouched limit."""
        if self.algorithm in ("throttle", "debounce"):
            return 1
        return self.burst or self.quota

    @property
    def interval_us(self) -> int:
        """Microseconds in which one token comes back, rounded up so that the limit is never exceeded."""
        return -(-round(self.window * 1_000_000) // self.quota)

    @classmethod
    def token_bucket(
        cls, name: str = "user", *, max_tokens: int, refill_rate: float, **options: Unpack[LimitOptions]
    ) -> Self:
        """A bucket of ``max_tokens`` that refills by ``refill_rate`` tokens per second (GCRA)."""
        if not 0.000_001 <= refill_rate <= 1_000_000:
            raise ValueError(
                f"RateLimit {name}: refill_rate must be 0.000001 to 1,000,000 tokens per second, not {refill_rate}"
            )
        window = max_tokens / refill_rate
        return cls(
            name=name, algorithm="token_bucket", quota=max_tokens, window=window, burst=max_tokens, **options
        )

    @classmethod
    def fixed_window(
        cls, name: str = "user", *, limit: int, window: float, **options: Unpack[LimitOptions]
    ) -> Self:
        """``limit`` per ``window`` seconds, in windows anchored at the Unix epoch. Twice the limit may pass around a window's edge."""
        return cls(name=name, algorithm="fixed_window", quota=limit, window=window, **options)

    @classmethod
    def sliding_window(
        cls, name: str = "user", *, limit: int, window: float, **options: Unpack[LimitOptions]
    ) -> Self:
        """``limit`` in any ``window`` seconds, estimated from two counters; the previous one is assumed to have been spread evenly."""
        return cls(name=name, algorithm="sliding_window", quota=limit, window=window, **options)

    @classmethod
    def throttle(
        cls, name: str = "user", *, rate: int, per: float = 1.0, **options: Unpack[LimitOptions]
    ) -> Self:
        """``rate`` per ``per`` seconds, evenly spaced: never two at once."""
        return cls(name=name, algorithm="throttle", quota=rate, window=per, burst=1, **options)

    @classmethod
    def debounce(cls, name: str = "user", *, interval: float, **options: Unpack[LimitOptions]) -> Self:
        """Pass only after ``interval`` seconds without any attempt; every attempt, also a refused one, starts the wait again."""
        return cls(name=name, algorithm="debounce", quota=1, window=interval, **options)
