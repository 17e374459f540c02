"""fastapi-limiter's ``RateLimiter`` on our buckets: limits in the package's own style, counted in Valkey by the gate's engine.

The package's own class answers 500 under ``include_router``, believes X-Forwarded-For, and counts all callers of a
``Limiter(Rate(...))`` together, in one process. Here only its way of writing remains.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi_limiter.callback import default_callback
from fastapi_limiter.depends import RateLimiter as PackageRateLimiter
from fastapi_limiter.identifier import default_identifier
from pyrate_limiter import InMemoryBucket, Limiter, Rate, SingleBucketFactory
from starlette.types import Scope

from app.core.context import Principal
from app.core.http._client_address import client_network
from app.core.http._counting import count_and_show
from app.core.http._dependencies import platform_of
from app.core.http._fields import Field, policy_field
from app.core.http._route import template
from app.core.http._state import SCOPE_KEY, RequestState
from app.core.policies import Caller, Plan, RateLimit

Identifier = Callable[[Request], Awaitable[object]]
Callback = Callable[[Request, Response], Awaitable[Any]]


class RateLimiter(PackageRateLimiter):
    """``Depends(RateLimiter(limiter=Limiter(Rate(5, Duration.SECOND * 10))))``: 5 per 10 seconds per caller on this route.

    limiter: gives the rates, or the rates themselves: ``RateLimiter(Rate(...))``, ``RateLimiter([Rate(...), Rate(...)])``. A rate is a
        sliding window; one whose ``burst`` is not its ``limit`` is a token bucket (GCRA). Several rates are decided in one round trip,
        all or nothing. A Limiter's in-memory bucket is not used: it and its thread are closed with the first request, so make the
        Limiter for this alone.
    identifier: async function of the request that names whom to count together; what it returns is stored hashed. By default the
        principal that the gate or ``CurrentPrincipal`` found, otherwise the client's true network.
    callback: async function of request and response for a refused request; when it returns, the request goes on. By default a 429
        problem document with Retry-After.

    It counts per path template, so one object on two routes is two limits, and so are two objects on one route. ``@skip_limiter``
    exempts a route. While Valkey is down each process enforces its part of the limit. Every answer carries RateLimit fields.

    Raises ValueError for ``blocking=True``, for rates that the engine cannot count, and for a Limiter that keeps its own store.
    Not for what must hold before the body is read, nor as a route's only guard: that is ``JobConfig.rate_limit``. It runs as a
    dependency, hence after the gate, and a route without a gate stays on the open list.
    """

    def __init__(
        self,
        limiter: Limiter | Rate | Sequence[Rate],
        identifier: Identifier = default_identifier,
        callback: Callback = default_callback,
        blocking: bool = False,
    ) -> None:
        if blocking:
            raise ValueError(
                "RateLimiter: blocking=True would hold the connection and all that the request has taken while it waits; "
                "leave it out, and callers wait by themselves for the Retry-After of their 429"
            )
        if not isinstance(limiter, Limiter):
            limiter = _carrier([limiter] if isinstance(limiter, Rate) else list(limiter))
        super().__init__(limiter, identifier, callback)
        self._rates = _rates_of(limiter)
        for rate in self._rates:
            _limit_of(rate, 0)
        self._places: dict[tuple[int, str], _Place] = {}

    async def __call__(self, request: Request, response: Response) -> Any:
        """Count this request. Raises RateLimitExceeded (429) unless there is a callback of one's own."""
        place = self._place_of(request.scope)
        if place.skipped:
            return None
        state: RequestState = request.scope[SCOPE_KEY]
        caller = await self._caller(request, state)
        admission = await count_and_show(
            platform_of(request).engine, place.plan, caller, state, field=place.policy_field
        )
        if admission.allowed:
            return None
        if self.callback is not default_callback:
            return await self.callback(request, response)
        raise admission.refusal()

    async def _caller(self, request: Request, state: RequestState) -> Caller:
        # The package's default reads X-Forwarded-For, which callers write themselves.
        if self.identifier is default_identifier:
            return Caller(state.principal, client_network(state.client_ip))
        name = str(await self.identifier(request)).encode("utf-8", "surrogatepass")
        return Caller(Principal("name-" + blake2b(name, digest_size=16).hexdigest()), "")

    def _place_of(self, scope: Scope) -> "_Place":
        route: APIRoute = scope["route"]
        path = template(scope, route)
        place = self._places.get((id(route), path))
        if place is None:
            place = self._places[id(route), path] = self._new_place(scope, route, path)
            # Not when it was made: a thread that finds its buckets gone before it has looked at them dies with a traceback.
            self.limiter.close()
        return place

    def _new_place(self, scope: Scope, route: APIRoute, path: str) -> "_Place":
        context = scope.get("fastapi", {}).get("effective_route_context")
        # A context carries what routers and includes have added to the route.
        owner = context if context is not None and context.original_route is route else route
        position = next((n for n, found in enumerate(_limiters_in(owner.dependant), 1) if found is self), 0)
        # The space keeps it apart from every gate's name.
        policy = f"{','.join(sorted(route.methods or ()))} {path}"
        plan = Plan(policy, [_limit_of(rate, position) for rate in self._rates])
        # The package has no public name for the mark that its decorator leaves.
        return _Place(route, plan, policy_field(plan), bool(getattr(route.endpoint, "_skip_limiter", False)))


class _Place(NamedTuple):
    """A limiter on one route. Holds the route, or its id could become another's."""

    route: APIRoute
    plan: Plan
    policy_field: Field | None
    skipped: bool


def _carrier(rates: list[Rate]) -> Limiter:
    """A Limiter that only carries rates: unlike ``Limiter(rates)`` it starts no thread."""
    return Limiter(SingleBucketFactory(InMemoryBucket(rates), schedule_leak=False))


def _rates_of(limiter: Limiter) -> tuple[Rate, ...]:
    buckets = limiter.bucket_factory.owned_buckets()
    if len(buckets) != 1 or not isinstance(buckets[0], InMemoryBucket):
        raise ValueError(
            "RateLimiter counts in the application's Valkey: give it rates or Limiter(rates), not a Limiter with a store of its own"
        )
    return tuple(buckets[0].rates)


def _limit_of(rate: Rate, position: int) -> RateLimit:
    seconds, rest = divmod(rate.interval, 1000)
    has_burst = rate.burst != rate.limit
    # The numbers are in the name, so a changed rate starts a bucket of its own instead of reading the state of another kind.
    parts = [f"limiter_{position}_{rate.limit}_per", f"{rate.interval}ms" if rest else f"{seconds}s"]
    if has_burst:
        parts.append(f"burst_{rate.burst}")
    return RateLimit(
        name="_".join(parts),
        algorithm="token_bucket" if has_burst else "sliding_window",
        quota=rate.limit,
        window=rate.interval / 1000,
        burst=rate.burst if has_burst else None,
        charge="admit",
    )


def _limiters_in(dependant: Dependant) -> Iterator[RateLimiter]:
    for node in dependant.dependencies:
        if isinstance(node.call, RateLimiter):
            yield node.call
        yield from _limiters_in(node)
