"""The policy engine for work that is no request: a job, an event's consumer, a script, or a single check inside a handler.

The same order and the same round trip as the gate's: authorise, ADMIT (limits, quota, slots, credits), then deadline > retry > breaker >
attempt timeout > bulkhead > the work; then the debit, and everything that was taken is freed. Whatever fails gives back all but attempt
limits.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TypeVar

from app.core.context import Principal, RequestContext, current_context, reset_context, set_context
from app.core.db import get_db_context
from app.core.errors import ConfigurationError, NotAuthenticated, Unavailable
from app.core.observability import Run
from app.core.policies._actual_cost import reset_charged, set_charged
from app.core.policies._admission import Admission
from app.core.policies._engine_parts import EngineParts, count
from app.core.policies._job_config import JobConfig
from app.core.policies._keys import Caller
from app.core.policies._permit import Permit
from app.core.policies._plan import Plan
from app.core.policies._post import Post
from app.core.policies._rate_limit import CostRequest, is_policy_name
from app.core.policies._renewals import Renewals
from app.core.policies._terms import NO_REQUEST
from app.core.resilience import earliest

R = TypeVar("R")


class Engine:
    """Runs work under a policy. One per application; belongs to one event loop."""

    def __init__(self, parts: EngineParts) -> None:
        self.parts = parts
        self._renewals = parts.renewals or Renewals(parts.admitter, clock=parts.clock)
        self._posts: dict[str, Post] = {}

    async def run(
        self,
        name: str,
        config: JobConfig,
        work: Callable[[], Awaitable[R]],
        *,
        principal: Principal | None = None,
        network: str = "",
        request: CostRequest = NO_REQUEST,
        settlement_key: str | None = None,
    ) -> R:
        """The result of ``work``, run once (or as often as ``config.retry`` says) under ``config`` by the name ``name``.

        principal: on whose behalf; by default the context's. network: counted by limits per IP, which refuse to run without one.
        request: what cost functions look at. settlement_key: the charge's own name, such as the job's id: work that is run again under
            it, after a crash, is charged once. Without one every run is a charge.

        Inside, the context carries the principal, the policy's name and the deadline, and ``set_cost`` says what it cost. The debit is
        written in a transaction of its own when the work is done; if PostgreSQL is down by then, it is put off, and the result is
        returned.

        What operators changed under the policy's name holds here too, and so does its kill switch; for both a feature declares the policy:
        ``Feature(work={name: config})``.

        Raises NotAuthenticated (401), PermissionDenied (403), every refusal of a request with this policy, DeadlineExceeded (504), and
        what the work raises. ConfigurationError: two configs under one name, idempotency or cache, a provider that is absent.
        Not for a handler: its gate has done this already.
        """
        post = self.post(name, config)
        post.require_on()
        caller = _caller_of(post, principal, network)
        post.authorise(caller, request)
        if post.takes_nothing:
            return await self._work(post, caller, work, None)
        permit = await post.enter(caller, request, settlement_key=settlement_key)
        try:
            if permit.admission is None:  # nothing was taken that could run out
                result = await self._work(post, caller, work, permit)
            else:
                with self._renewed(permit.admission):
                    result = await self._work(post, caller, work, permit)
        except BaseException:
            await permit.give_back()
            raise
        await self.pay(
            permit, is_batched=post.config.credits is not None and post.config.credits.settle == "batched"
        )
        return result

    def post(self, name: str, config: JobConfig) -> Post:
        """The policy compiled, once per name. Raises ConfigurationError for another config under a name that is taken."""
        post = self._posts.get(name)
        if post is None:
            if not is_policy_name(name):
                raise ConfigurationError(f"A policy's name must match [a-z][a-z0-9_]*, not {name!r}")
            post = self._posts[name] = Post(name, config, self.parts)
        elif post.given is not config and post.given != config:
            raise ConfigurationError(f"The name {name} has another config already; give each its own name")
        return post

    async def count(self, plan: Plan, caller: Caller, costs: tuple[int, ...] | None = None) -> Admission:
        """Charge a plan's limits and nothing else, and report the decision. A refusal is returned, not raised."""
        return await count(self.parts, plan, caller, costs)

    async def _work(
        self, post: Post, caller: Caller, work: Callable[[], Awaitable[R]], permit: Permit | None
    ) -> R:
        context, timeout = current_context(), post.config.timeout
        deadline = earliest(monotonic() + timeout if timeout is not None else None, context.deadline)
        token = set_context(_inside(context, post.name, caller.principal, deadline))
        # Also without credits: work inside of other work must not name the other's cost.
        charged = set_charged(permit if post.config.credits is not None else None)
        try:
            if not post.config.metrics:
                return await post.resilience.run(work, deadline=deadline)
            with Run(self.parts.hub, post.name):
                return await post.resilience.run(work, deadline=deadline)
        finally:
            reset_charged(charged)
            reset_context(token)

    async def pay(self, permit: Permit, *, is_batched: bool = False) -> None:
        """Write what the work owes in a transaction of its own, or hand it to the ledger's batch, and free what it took.

        For work without a request's sessions. The result stands even while PostgreSQL is down: the batch tries for as long as the hold
        lasts, and a charge that did get in is posted only once.
        """
        if not permit.owes:
            await permit.settle()
            return
        if is_batched:
            await permit.pay_later()
            return
        try:
            async with get_db_context(self.parts.database) as session:
                await permit.pay(session)
        except Unavailable:
            await permit.pay_later()
        except BaseException:
            await permit.give_back()
            raise
        else:
            await permit.settle()

    @contextmanager
    def _renewed(self, admission: Admission) -> Iterator[None]:
        """Keep the leases of what was taken while the block runs."""
        self._renewals.add(admission)
        try:
            yield
        finally:
            self._renewals.discard(admission)


def _caller_of(post: Post, principal: Principal | None, network: str) -> Caller:
    principal = principal or current_context().principal
    if principal is None and not post.config.security.anonymous:
        raise NotAuthenticated(f"{post.name} runs on somebody's behalf: say whose with principal=.")
    if not network and (principal is None or post.counts_networks):
        # Never a shared constant: everybody would spend one bucket.
        raise ConfigurationError(f"The policy {post.name} counts per network; give run() the network")
    return Caller(principal, network)


def _inside(
    context: RequestContext, policy: str, principal: Principal | None, deadline: float | None
) -> RequestContext:
    """The context of the work itself."""
    tenant_id, user_id = (principal.tenant_id, principal.id) if principal is not None else (None, None)
    request_id, client_ip, _, _, _, _, _, traceparent, route, job_id = context
    # Not ``_replace``, which takes three times as long.
    return RequestContext(
        request_id, client_ip, policy, principal, tenant_id, user_id, deadline, traceparent, route, job_id
    )


class _Default:
    """The engine that a door named for the whole process."""

    engine: Engine | None = None


def configure_engine(engine: Engine | None) -> None:
    """Set the process's default engine. Called by doors; ``None`` forgets it."""
    _Default.engine = engine


def default_engine() -> Engine:
    """The engine that a door configured. Raises ``ConfigurationError`` when none did."""
    if _Default.engine is None:
        raise ConfigurationError(
            "No policy engine is configured in this process: a door (create_app, worker) calls core.policies.configure_engine()"
        )
    return _Default.engine
