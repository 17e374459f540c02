"""A gate at work: identify, authorise, admit, in this order, for one endpoint of one application.

The order and its reasons (docs/policies.md): identity first because it selects the keys; authorisation before any cached or stored
state is shown; then one round trip for all limits. A 401 or 403 is charged to the attempt limits before it is answered, or guessing
credentials would be free.
"""

from collections.abc import Mapping
from time import monotonic
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs

from opentelemetry.trace import Tracer

from app.core.context import Principal
from app.core.errors import GatehouseError, NotAuthenticated
from app.core.http._bearer import authorization, bearer_token
from app.core.http._client_address import client_network
from app.core.http._fields import LimitField, policy_field
from app.core.http._gate import Gate, Ticket
from app.core.http._state import RequestState
from app.core.observability import EventHub, PolicyEvent
from app.core.policies import Admission, Admitter, Caller, CostRequest, Plan, RateLimit, Resilience
from app.core.resilience import Breakers, Clock, Deadlines

Scope = Mapping[str, Any]


class TokenVerifier(Protocol):
    """Turns a bearer token into its principal; raises NotAuthenticated for any token that is not good."""

    def verify(self, token: str) -> Principal:
        """Local and quick: no I/O."""


class GateKit(NamedTuple):
    """What every gate of one application works with; put together by the door."""

    tokens: TokenVerifier | None
    admitter: Admitter
    hub: EventHub
    clock: Clock
    failed_auth: RateLimit
    deadlines: Deadlines
    tracer: Tracer | None = None
    breakers: Breakers | None = None


class BoundGate:
    """One gate, compiled. Built by the boot audit; ``enter`` runs for every request."""

    def __init__(self, gate: Gate, kit: GateKit) -> None:
        config = gate.config
        self.name = gate.name
        self.config = config
        self.hub = kit.hub
        self.deadlines = kit.deadlines
        self.tracer = kit.tracer if config.tracing else None
        self.resilience = Resilience(gate.name, config, breakers=kit.breakers or Breakers(hub=kit.hub))
        self._security = config.security
        self._verify = kit.tokens.verify if kit.tokens is not None else None
        self._admitter = kit.admitter
        self._plan = Plan(gate.name, config.limits)
        self._forbidden_plan = self._plan.only(lambda limit: limit.charge == "attempt")
        nameless = [
            limit
            for limit in config.limits
            if limit.charge == "attempt" and not {"user", "api_key", "tenant"} & set(limit.scopes)
        ]
        self._nameless_plan = Plan(gate.name, [kit.failed_auth, *nameless])
        self._denied = _Denials(kit.clock)
        self._has_shadow = any(limit.shadow for limit in config.limits)
        self._policy_field = policy_field(self._plan)
        self._limit_field = LimitField(self._plan)

    async def enter(self, scope: Scope, state: RequestState) -> Ticket:
        """Let the request in, or raise the refusal: 401, 403, 422 (cost), 429, 503."""
        state.gate = self.name
        state.is_logged = self.config.logging
        cap = self.config.max_body
        if cap is not None and (state.body_limit is None or cap < state.body_limit):
            state.body_limit = cap
        try:
            principal = self._identify(scope)
        except GatehouseError as refusal:
            await self._charge_nameless(state, refusal)
            raise
        caller = Caller(principal, client_network(state.client_ip))
        if principal is not None:
            state.principal = principal
            forbidden = self._security.refusal(principal)
            if forbidden is not None:
                await self._charge_forbidden(caller, state, forbidden)
                raise forbidden
        admission = await self._admit(scope, caller, state) if self._plan.limits else None
        timeout = self.config.timeout
        deadline = monotonic() + timeout if timeout is not None else None
        return Ticket(self.name, self.config, principal, admission, self, deadline)

    def _identify(self, scope: Scope) -> Principal | None:
        value = authorization(scope["headers"])
        token = bearer_token(value) if value is not None else None
        if token is not None and self._verify is not None:
            return self._verify(token)
        # Another scheme is a client's own credentials, as OAuth2 sends them to a token endpoint: they say nothing to us.
        if self._security.anonymous:
            return None
        raise NotAuthenticated("This needs a bearer token.")

    async def _admit(self, scope: Scope, caller: Caller, state: RequestState) -> Admission:
        plan = self._plan
        costs = plan.priced(_cost_request(scope)) if plan.has_cost_functions else None
        started = monotonic()
        try:
            admission = await self._admitter.admit(plan, caller, costs)
        except GatehouseError:
            self._report("unavailable", None, state, caller, degraded=True)
            raise
        store_s = monotonic() - started
        if not admission.degraded and self._policy_field is not None:
            state.headers += (self._policy_field, self._limit_field.of(admission))
        verdict = "admitted" if admission.allowed else "limited"
        self._report(verdict, admission, state, caller, degraded=admission.degraded, store_s=store_s)
        if not admission.allowed:
            raise admission.refusal()
        return admission

    async def _charge_nameless(self, state: RequestState, refusal: GatehouseError) -> None:
        network = client_network(state.client_ip)
        wait = self._denied.wait_s(network)
        if wait <= 0:
            admission = await self._admitter.admit(self._nameless_plan, Caller(None, network))
            if admission.allowed:
                self._report_refusal("unauthenticated", refusal, state)
                return
            self._denied.add(network, admission)
        else:
            known = (0, 0, 0, int(wait * 1e6))
            admission = Admission(self._nameless_plan, allowed=False, cause=1, numbers=known, degraded=False)
        self._report_refusal("limited", refusal, state)
        raise admission.refusal() from refusal

    async def _charge_forbidden(self, caller: Caller, state: RequestState, refusal: GatehouseError) -> None:
        if self._forbidden_plan.limits:
            admission = await self._admitter.admit(self._forbidden_plan, caller)
            if not admission.allowed:
                self._report_refusal("limited", refusal, state)
                raise admission.refusal() from refusal
        self._report_refusal("forbidden", refusal, state)

    def _report_refusal(self, verdict: str, refusal: GatehouseError, state: RequestState) -> None:
        state.outcome = verdict
        principal_id = state.principal.id if state.principal else None
        self.hub.emit(
            PolicyEvent(
                self.name,
                verdict,
                type(refusal).__name__,
                request_id=state.request_id,
                principal_id=principal_id,
            )
        )

    def _report(
        self,
        verdict: str,
        admission: Admission | None,
        state: RequestState,
        caller: Caller,
        *,
        degraded: bool,
        store_s: float = 0.0,
    ) -> None:
        state.outcome = verdict
        cause = admission.cause_name if admission is not None else "store"
        shadowed = admission.shadowed if admission is not None and self._has_shadow else ()
        principal_id = caller.principal.id if caller.principal is not None else None
        self.hub.emit(
            PolicyEvent(
                self.name, verdict, cause, shadowed, degraded, store_s, state.request_id, principal_id
            )
        )


class _Denials:
    """Networks whose failed-auth limit is known to be used up until a time: they are refused without a round trip."""

    def __init__(self, clock: Clock, capacity: int = 10_000) -> None:
        self._clock = clock
        self._capacity = capacity
        self._until: dict[str, float] = {}

    def wait_s(self, network: str) -> float:
        until = self._until.get(network)
        if until is None:
            return 0.0
        left = until - self._clock.monotonic()
        if left <= 0:
            del self._until[network]
        return left

    def add(self, network: str, admission: Admission) -> None:
        # Only the first limit of the plan, failed_auth, is about the network alone for certain.
        if admission.cause != 1 or admission.degraded:
            return
        if len(self._until) >= self._capacity:
            del self._until[next(iter(self._until))]
        self._until[network] = self._clock.monotonic() + admission.wait_s


def _cost_request(scope: Scope) -> CostRequest:
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return CostRequest(
        scope["method"],
        {name: str(value) for name, value in scope.get("path_params", {}).items()},
        parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True),
        int(length) if length.isdigit() else None,
    )
