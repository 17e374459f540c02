"""The five limits as building blocks: around any handler, or as a dependency, on the gate's engine and buckets.

    @router.get("/records/{record_id}")
    @token_bucket(max_tokens=5, refill_rate=1)
    async def get_record(record_id: int, user=Depends(require_scope("read:records"))): ...

A decorator runs after the dependencies, so the caller is known by then. A route that has nothing else stands on the open list.
"""

from dataclasses import replace
from typing import NamedTuple, Unpack

from fastapi import Request

from app.core.http._block import Block, Here, here, name_of
from app.core.http._cost_request import cost_request
from app.core.http._counting import count_and_show
from app.core.http._fields import Field, policy_field
from app.core.policies import NO_REQUEST, LimitOptions, Plan, RateLimit


class LimitBlockOptions(LimitOptions, total=False):
    """What every limit takes besides its numbers: ``name`` as in ``Block``, the others as in ``RateLimit``, without ``shared``."""

    name: str


class _Counted(NamedTuple):
    plan: Plan
    field: Field | None


class LimitBlock(Block[None]):
    """One limit around handlers. Refusals are those of a gate: RateLimitExceeded (429), CostExceedsLimit (422), LimitUnavailable (503)."""

    def __init__(self, limit: RateLimit, name: str | None = None) -> None:
        super().__init__(name)
        if "global" in limit.scopes:
            raise ValueError("A block counts for its own handler: scope='route' is everybody who calls it")
        if limit.shared is not None:
            raise ValueError(
                "Blocks that are to share a bucket get the same name and the same numbers; shared is for JobConfig"
            )
        # The numbers are in the name, so a changed limit, or a second one of the kind, starts a bucket of its own.
        self._limit = replace(limit, name=_limit_name(limit))
        self._counted: dict[str, _Counted] = {}

    async def enter(self, name: str) -> None:
        """Charge the caller. Raises the refusal."""
        await self._spend(name, here())

    async def dependency(self, request: Request) -> None:
        """The same check as a dependency: ``Depends(token_bucket(max_tokens=5, refill_rate=1).dependency)``.

        It counts the principal if the gate, or a dependency before this one, has found him; otherwise the network.
        """
        await self._spend(self._name or name_of(request.scope["route"].endpoint), here())

    async def _spend(self, name: str, place: Here) -> None:
        counted = self._counted.get(name) or self._new(name)
        costs = None
        if counted.plan.has_cost_functions:
            costs = counted.plan.priced(cost_request(place.scope) if place.scope is not None else NO_REQUEST)
        admission = await count_and_show(
            place.engine, counted.plan, place.caller, place.state, field=counted.field, costs=costs
        )
        if not admission.allowed:
            raise admission.refusal()

    def _new(self, name: str) -> _Counted:
        plan = Plan(name, [self._limit])
        counted = self._counted[name] = _Counted(plan, policy_field(plan))
        return counted


def _limit_name(limit: RateLimit) -> str:
    micro = round(limit.window * 1_000_000)
    window = f"{micro // 1_000_000}s" if micro % 1_000_000 == 0 else f"{micro}us"
    parts = [limit.algorithm, str(limit.quota), "per", window]
    if limit.scopes != ("user",):
        parts += ["by", *limit.scopes]
    return "_".join(parts)


def token_bucket(max_tokens: int, refill_rate: float, **options: Unpack[LimitBlockOptions]) -> LimitBlock:
    """``max_tokens`` at once, ``refill_rate`` tokens a second (GCRA). Raises ValueError for numbers that cannot be counted."""
    name = options.pop("name", None)
    return LimitBlock(RateLimit.token_bucket(max_tokens=max_tokens, refill_rate=refill_rate, **options), name)


def fixed_window(limit: int, window: float, **options: Unpack[LimitBlockOptions]) -> LimitBlock:
    """``limit`` per ``window`` seconds, in windows anchored at the Unix epoch: twice that may pass around an edge."""
    name = options.pop("name", None)
    return LimitBlock(RateLimit.fixed_window(limit=limit, window=window, **options), name)


def sliding_window(limit: int, window: float, **options: Unpack[LimitBlockOptions]) -> LimitBlock:
    """``limit`` in any ``window`` seconds, estimated from two counters."""
    name = options.pop("name", None)
    return LimitBlock(RateLimit.sliding_window(limit=limit, window=window, **options), name)


def throttle(rate: int, per: float = 1.0, **options: Unpack[LimitBlockOptions]) -> LimitBlock:
    """``rate`` per ``per`` seconds, evenly spaced: never two at once."""
    name = options.pop("name", None)
    return LimitBlock(RateLimit.throttle(rate=rate, per=per, **options), name)


def debounce(interval: float, **options: Unpack[LimitBlockOptions]) -> LimitBlock:
    """One call after ``interval`` seconds of silence; every attempt, also a refused one, starts the wait again."""
    name = options.pop("name", None)
    return LimitBlock(RateLimit.debounce(interval=interval, **options), name)


token_bucket_limiter = token_bucket
