"""Response cache: a GET answered from what was stored for the same caller, decided after he was authenticated and authorised."""

import re
from dataclasses import dataclass
from typing import Literal

from app.core.policies._words import between, one_of

CacheScope = Literal["user", "tenant", "public"]
_TAG = re.compile(r"(?:[A-Za-z0-9._:-]|\{[a-z_][a-z0-9_]*\}){1,120}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseCache:
    """How an endpoint's answers to GET and HEAD are kept and repeated. States: fresh, eager, stale, gone.

    ttl: seconds that an answer is fresh, 0.1 to 86,400; spread by +-10 % so that entries do not end together.
    stale: seconds after that, up to 604,800, in which it may be served while it is computed anew, or because computing failed.
    scope: whose answers are shared: the caller's own, his tenant's, or everybody's. ``public`` on an endpoint that needs a token wants
        ``shared_with_all=True`` beside it. Answers for one set of scopes and roles are never given to another.
    tags: what an answer depends on, at most 8; ``invalidate_tags`` ends all answers with a tag in one step. A table's name is a tag.
        ``{user}``, ``{tenant}`` and path parameters are filled in: ``records:{user}``.
    query: query parameters that select the answer (their order does not matter); None: all of them.
    vary: request headers that select it too.
    negative_ttl: seconds that a 404 or 410 is kept, up to 86,400; 0: not at all.
    soft_timeout: seconds, 0.001 to 60, to wait for a new answer before the stale one is served while the computation goes on.
    hard_timeout: seconds, 0.001 to 60, to wait for another request's computation of the same answer before computing it oneself.
    eager: refresh in the background before the end, with the probability of XFetch (Vattani et al., VLDB 2015), so that nobody waits.
    hit_cost: 1 charges a hit to the attempt limits like any request, 0 does not. Quota, credits and slots are never charged.
    max_body: bytes of the largest answer that is kept, 0 to 1,048,576.
    outage_max: computations of this endpoint at once in a process while Valkey is down, 1 to 10,000; who finds no place within
        ``hard_timeout`` is 503. What stands behind a cache is seldom sized for all of its callers.
    refresh_roles: callers with one of these roles get an answer that is computed for them, and kept, when they send
        ``Cache-Control: no-cache``. From everybody else that header is ignored: it would take the cache away from what it protects.

    Never kept: other statuses than 200, 203, 204, 301, 404, 410, answers with Set-Cookie or ``no-store``. While Valkey is down
    nothing is kept; equal requests that meet in one process are one computation, and at most ``outage_max`` run at once.
    """

    ttl: float
    stale: float = 0.0
    scope: CacheScope = "user"
    tags: tuple[str, ...] = ()
    query: tuple[str, ...] | None = None
    vary: tuple[str, ...] = ()
    negative_ttl: float = 0.0
    soft_timeout: float = 0.5
    hard_timeout: float = 5.0
    eager: bool = False
    hit_cost: Literal[0, 1] = 1
    max_body: int = 262_144
    outage_max: int = 16
    shared_with_all: bool = False
    refresh_roles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        one_of("ResponseCache", "scope", self.scope, CacheScope)
        one_of("ResponseCache", "hit_cost", self.hit_cost, Literal[0, 1])
        between("ResponseCache", "ttl", self.ttl, 0.1, 86_400)
        between("ResponseCache", "stale", self.stale, 0, 604_800)
        between("ResponseCache", "negative_ttl", self.negative_ttl, 0, 86_400)
        between("ResponseCache", "soft_timeout", self.soft_timeout, 0.001, 60)
        between("ResponseCache", "hard_timeout", self.hard_timeout, 0.001, 60)
        between("ResponseCache", "max_body", self.max_body, 0, 1_048_576)
        between("ResponseCache", "outage_max", self.outage_max, 1, 10_000)
        if len(self.tags) > 8 or not all(_TAG.fullmatch(tag) for tag in self.tags):
            raise ValueError(
                f"ResponseCache.tags: at most 8 of letters, digits, . _ : - and {{name}}, not {self.tags!r}"
            )
