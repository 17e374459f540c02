"""A gate at work: identify, authorise, admit, in this order, for one endpoint of one application.

The order and its reasons (docs/policies/order.md): the kill switch and shedding first because they are cheapest; identity because it
selects the keys; authorisation before any cached or stored state is shown; then one round trip for everything that needs state. A 401 or
403 is charged to the attempt limits before it is answered, or guessing credentials would be free.
"""

from collections.abc import Mapping
from time import monotonic
from typing import Any

from starlette.types import Receive

from app.core.context import Principal
from app.core.errors import (
    BadRequest,
    GatehouseError,
    NotAuthenticated,
    PolicyRejected,
    Unavailable,
    Unprocessable,
)
from app.core.http._answer import Answer
from app.core.http._attempts import Attempts
from app.core.http._bearer import presented
from app.core.http._claims import Claims
from app.core.http._client_address import client_network
from app.core.http._cost_request import cost_request
from app.core.http._credentials import Credentials, being_changed
from app.core.http._field_encryption import FieldEncryption
from app.core.http._fields import Field, LimitField, policy_field, with_quotas
from app.core.http._gate import Gate, Ticket
from app.core.http._gate_kit import GateKit
from app.core.http._incoming import Incoming
from app.core.http._rewound import Rewound
from app.core.http._security_headers import is_page
from app.core.http._state import SCOPE_KEY, RequestState
from app.core.http._traffic import Overloaded
from app.core.http._turnstile import Turnstile
from app.core.observability import PolicyEvent
from app.core.policies import (
    VERDICT_WORDS,
    Admission,
    Caller,
    CostExceedsLimit,
    Plan,
    Resilience,
    WebhookRejected,
    shadowed,
)
from app.core.security import ApiKeyNotLoaded, InvalidApiKey, InvalidToken, KeysNotLoaded

Scope = Mapping[str, Any]


class BoundGate:
    """One gate, compiled. Built by the boot audit, with the overrides of this application; ``enter`` runs for every request."""

    def __init__(self, gate: Gate, kit: GateKit) -> None:
        self.config = config = shadowed(gate.config)
        self.name = gate.name
        self.hub = kit.hub
        self.deadlines = kit.deadlines
        self.background = kit.background
        self.tracer = kit.tracer if config.tracing else None
        self.resilience = Resilience(gate.name, config, breakers=kit.breakers)
        self.changes = kit.changes
        self._security, self._clock = config.security, kit.clock
        self._credentials = Credentials(kit.tokens, kit.api_keys)
        self._pages = kit.pages
        self._admitter = kit.admitter
        self.traffic = kit.traffic
        self._switches = kit.switches
        self._plan = Plan(gate.name, config.limits)
        self._attempts = Attempts(gate.name, self._plan, kit)
        self._has_shadow = (
            config.shadow
            or any(limit.shadow for limit in config.limits)
            or any(quota.shadow for quota in config.quotas)
        )
        self._policy_field = policy_field(self._plan)
        self._limit_field = LimitField(self._plan)
        self._shows_quotas = any(not quota.shadow for quota in config.quotas)
        fields, encryptor = config.encrypted_fields, kit.keeping.encryptor
        self.field_encryption = FieldEncryption(fields, encryptor) if fields and encryptor else None
        self.turnstile = self._make_turnstile(kit) if config.has_terms else None

    def _make_turnstile(self, kit: GateKit) -> Turnstile:
        return Turnstile(
            self.name, self.config, self._plan, admitter=kit.admitter, keeping=kit.keeping, resilience=self.resilience,
            traffic=kit.traffic, clock=kit.clock,
        )  # fmt: skip

    async def enter(
        self, scope: Scope, receive: Receive, state: RequestState, template: str
    ) -> Ticket | Answer:
        """Let the request in, or answer it from what is stored, or raise the refusal: 400, 401, 402, 403, 409, 422, 429, 503."""
        self._begin(state)
        principal = await self._who(scope, state, template)
        if principal is None or principal.api_key_id is None:
            return await self._let_in(principal, scope, receive, state, template)
        return await self._let_in_by_key(principal, scope, receive, state, template)

    async def _let_in_by_key(
        self, principal: Principal, scope: Scope, receive: Receive, state: RequestState, template: str
    ) -> Ticket | Answer:
        """Once more when ADMIT says that something of the owner has ended: the key may go on, which the database knows."""
        first, before = Rewound(receive), len(state.headers)
        try:
            return await self._let_in(principal, scope, first, state, template)
        except InvalidToken as refusal:
            if refusal.reason != "revoked" or not self._credentials.looked_up_anew(principal):
                raise
        finally:
            again = first.rewind()
        del state.headers[before:]  # what is told of limits is the second answer's
        try:
            return await self._let_in(await self._who(scope, state, template), scope, again, state, template)
        except InvalidToken as refusal:
            if refusal.reason != "revoked":
                raise
            raise being_changed() from None

    async def _who(self, scope: Scope, state: RequestState, template: str) -> Principal | None:
        """Who is calling; a bad credential, or none where one is needed, is charged to the network."""
        try:
            try:
                return self._identify(scope, state, template)
            except ApiKeyNotLoaded as missing:
                if self._attempts.is_denied(state):
                    # It has guessed enough: 429, and no look-up for it.
                    await self._attempts.charge_network(state, InvalidApiKey("denied"))
                await missing.load()
            except KeysNotLoaded as missing:
                await missing.load()
            return self._identify(scope, state, template)
        except PolicyRejected:
            raise
        except GatehouseError as refusal:
            await self._attempts.charge_network(state, refusal)
            raise

    async def _let_in(
        self, principal: Principal | None, scope: Scope, receive: Receive, state: RequestState, template: str
    ) -> Ticket | Answer:
        caller = Caller(principal, client_network(state.client_ip))
        forbidden = self._security.refusal(principal, self._clock) if principal is not None else None
        if forbidden is not None:
            raise await self._attempts.charged(forbidden, "forbidden", caller, state)
        if self.config.extra:
            await self._ask_extra(scope, caller, state)
        try:
            if self.turnstile is not None:
                incoming = Incoming(scope, receive, template, state.request_id)
                return await self._pass(self.turnstile, incoming, caller, state)
            is_asked = self._plan.limits or (principal is not None and self._admitter.proves_tokens)
            admission = await self._admit(scope, caller, state) if is_asked else None
        except WebhookRejected as refusal:
            await self._attempts.charge_network(state, refusal)
            raise
        except (BadRequest, Unprocessable, CostExceedsLimit) as refusal:
            # Found before ADMIT was asked: charged here, or it could be repeated for nothing.
            await self._attempts.charged(refusal, "invalid", caller, state)
            raise
        return self._ticket(principal, admission, state, None)

    async def _ask_extra(self, scope: Scope, caller: Caller, state: RequestState) -> None:
        """The application's own rules, in order. Their refusals are charged like a 403."""
        request = cost_request(scope)
        for rule in self.config.extra:
            refusal = rule.refusal(caller, request)
            if refusal is not None:
                raise await self._attempts.charged(refusal, rule.name, caller, state)

    def _ticket(
        self,
        principal: Principal | None,
        admission: Admission | None,
        state: RequestState,
        claims: Claims | None,
    ) -> Ticket:
        timeout = self.config.timeout
        deadline = monotonic() + timeout if timeout is not None else None
        return Ticket(self.name, self.config, principal, admission, self, deadline, claims, state)

    def _begin(self, state: RequestState) -> None:
        """Put the gate's name on the request; then the kill switch, then shedding by priority."""
        state.gate = self.name
        state.is_logged = self.config.logging
        cap = self.config.max_body
        if cap is not None and (state.body_limit is None or cap < state.body_limit):
            state.body_limit = cap
        refusal: GatehouseError | None = None
        if self._switches is not None:
            refusal = self._switches.refusal(self.name)
        if refusal is None and not self.traffic.admits(self.config.priority):
            self.traffic.shed += 1
            refusal = Overloaded()
        if refusal is not None:
            self._attempts.report("shed" if isinstance(refusal, Overloaded) else "disabled", refusal, state)
            raise refusal

    async def _pass(
        self, turnstile: Turnstile, incoming: Incoming, caller: Caller, state: RequestState
    ) -> Ticket | Answer:
        started = monotonic()
        try:
            passage = await turnstile.enter(incoming, caller, costs=self._costs(incoming.scope))
        except Unavailable as outage:
            self._attempts.report("unavailable", outage, state)
            raise
        admission = passage.admission
        self._show_limits(admission, state)
        self._report(
            VERDICT_WORDS[admission.verdict], admission, state, caller, degraded=admission.degraded, store_s=monotonic() - started
        )  # fmt: skip
        if passage.answer is not None:
            if passage.is_due:
                state.refresh = caller
            return passage.answer
        if passage.claims is None:
            raise passage.refusal or admission.refusal()
        return self._ticket(caller.principal, admission, state, passage.claims)

    async def refresh(self, scope: Scope, receive: Receive, caller: Caller) -> Ticket | None:
        """A ticket for computing a cached answer again, free of charge; None when somebody else is at it."""
        state: RequestState = scope[SCOPE_KEY]
        claims = (
            await self.turnstile.lead(Incoming(scope, receive, "", state.request_id), caller)
            if self.turnstile
            else None
        )
        if claims is None:
            return None
        return self._ticket(caller.principal, claims.admission, state, claims)

    def _costs(self, scope: Scope) -> tuple[int, ...] | None:
        return self._plan.priced(cost_request(scope)) if self._plan.has_cost_functions else None

    def _show_limits(self, admission: Admission, state: RequestState) -> None:
        if admission.degraded:
            return
        fields: tuple[Field, ...] = ()
        if self._policy_field is not None and admission.numbers:
            fields = (self._policy_field, self._limit_field.of(admission))
        state.headers += with_quotas(fields, admission) if self._shows_quotas else fields

    def _identify(self, scope: Scope, state: RequestState, template: str) -> Principal | None:
        principal = self._credentials.principal(scope["headers"], state.client_ip)
        if principal is not None:
            state.principal = principal
            return principal
        if self._security.anonymous:
            return None
        # By the route, which the boot audit knows for a page's, not by the path: `/{section}/things` takes paths under `/ui` too, and
        # asks for no form's token.
        if self._pages is not None and is_page(template) and presented(scope["headers"]) == (None, None):
            state.principal = self._pages.principal(scope)
            return state.principal
        raise NotAuthenticated("This needs a bearer token.")

    async def _admit(self, scope: Scope, caller: Caller, state: RequestState) -> Admission:
        costs = self._costs(scope)
        started = monotonic()
        try:
            admission = await self._admitter.admit(self._plan, caller, costs)
        except GatehouseError:
            self._report("unavailable", None, state, caller, degraded=True)
            raise
        store_s = monotonic() - started
        self._show_limits(admission, state)
        self._report(
            VERDICT_WORDS[admission.verdict], admission, state, caller, degraded=admission.degraded, store_s=store_s
        )  # fmt: skip
        if not admission.allowed:
            raise admission.refusal()
        return admission

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
