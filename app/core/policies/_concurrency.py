"""Concurrency: how many requests may be worked on at once, over all processes (slots in Valkey) or in one (a bulkhead)."""

from dataclasses import dataclass
from typing import Literal

from app.core.errors import PolicyRejected, Unavailable
from app.core.policies._words import between, named, one_of

SlotScope = Literal["user", "tenant", "route", "global"]
SlotsDown = Literal["local", "open"]


class TooManyInFlight(PolicyRejected):
    """The caller, or his tenant, has as many requests in flight as he may."""


class NoCapacity(Unavailable):
    """The endpoint, or this process, has as much in hand as it takes."""

    type = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """Slots over all processes, each a lease: a crash frees its slot when the lease ends, never earlier.

    max: requests at once, 1 to 100,000.
    scope: whose are counted together; ``user`` and ``tenant`` are refused with 429, ``route`` and ``global`` (one
        pool for all endpoints that give the same ``name``) with 503.
    lease: seconds, 1 to 3600; None: the endpoint's timeout, at most 30, renewed while the handler works.
    on_store_down: ``local`` counts in this process with max / REPLICAS, ``open`` does not count.
    """

    max: int
    scope: SlotScope = "user"
    name: str = "concurrency"
    lease: float | None = None
    on_store_down: SlotsDown = "local"

    def __post_init__(self) -> None:
        one_of("Concurrency", "scope", self.scope, SlotScope)
        one_of("Concurrency", "on_store_down", self.on_store_down, SlotsDown)
        named("Concurrency", "name", [self.name])
        between("Concurrency", "max", self.max, 1, 100_000)
        if self.lease is not None:
            between("Concurrency", "lease", self.lease, 1, 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulkhead:
    """Handlers at once in one process. What does not fit waits in a queue, or is refused with 503.

    max: handlers at once, 1 to 100,000. queue: how many may wait, 0 to 100,000. queue_timeout: seconds one waits, 0.001 to 60, never beyond
        its deadline.
    """

    max: int
    queue: int = 0
    queue_timeout: float = 1.0

    def __post_init__(self) -> None:
        between("Bulkhead", "max", self.max, 1, 100_000)
        between("Bulkhead", "queue", self.queue, 0, 100_000)
        between("Bulkhead", "queue_timeout", self.queue_timeout, 0.001, 60)
