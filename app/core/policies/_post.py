"""One policy at work outside HTTP: admits, and settles or gives back what was taken. ``Engine`` makes one per name."""

from app.core.errors import ConfigurationError, GatehouseError
from app.core.policies._ask import NOTHING, Ask, Verdict
from app.core.policies._credits import CreditsUnavailable
from app.core.policies._engine_parts import EngineParts, count, report
from app.core.policies._holds import load_account
from app.core.policies._job_config import JobConfig
from app.core.policies._keys import Caller
from app.core.policies._permit import Permit
from app.core.policies._plan import Plan
from app.core.policies._rate_limit import CostRequest
from app.core.policies._resilience import Resilience
from app.core.policies._shadow import shadowed
from app.core.policies._terms import NO_REQUEST, Terms
from app.core.valkey import escape

_TRIES = 4


class Post:
    """One name and its policy, compiled; ``config`` is the one in force, with the operators' overrides. Raises ConfigurationError for a
    policy that only a request can have, and for overrides that do not fit.
    """

    def __init__(self, name: str, config: JobConfig, parts: EngineParts) -> None:
        self.given = config
        if parts.overrides is not None:
            config = parts.overrides.apply(name, config)
        for field in ("webhook", "idempotency", "cache"):
            if getattr(config, field) is not None:
                raise ConfigurationError(
                    f"The policy {name} has {field}, which keeps HTTP answers; outside a request use get_or_set_cache for a cache, "
                    "and a settlement_key for work that may run twice"
                )
        if config.encrypted_fields is not None:
            raise ConfigurationError(
                f"The policy {name} encrypts fields of HTTP bodies; outside a request use DataEncryptor"
            )
        if config.credits is not None and (parts.ledger is None or parts.holds is None):
            raise ConfigurationError(f"The policy {name} has credits, and no feature provides a CreditLedger")
        self.name = name
        self.config = shadowed(config)
        self.parts = parts
        self.plan = Plan(name, self.config.limits)
        self.terms = Terms(name, self.config, plans=parts.plans, server_ms=parts.admitter.server_time_ms)
        self.resilience = Resilience(
            name, self.config, breakers=parts.breakers, clock=parts.clock, deadlines=parts.deadlines
        )
        self._asks_more = bool(config.quotas or config.slots or config.credits or config.breakers)
        self.takes_nothing = not self.plan.limits and not self._asks_more
        self.counts_networks = any("ip" in limit.scopes for limit in config.limits)

    def require_on(self) -> None:
        """Raises EndpointDisabled (503), after it was reported, when an operator has switched this policy off."""
        switches = self.parts.switches
        refusal = switches.refusal(self.name) if switches is not None else None
        if refusal is not None:
            report(self.parts.hub, self.name, "disabled", type(refusal).__name__, None)
            raise refusal

    def authorise(self, caller: Caller, request: CostRequest) -> None:
        """Scopes, roles and the rules of one's own. Raises the refusal, after it was reported."""
        principal = caller.principal
        refusal: GatehouseError | None = None
        if principal is not None:
            refusal = self.config.security.refusal(principal, self.parts.clock)
        cause = type(refusal).__name__
        for rule in self.config.extra if refusal is None else ():
            refusal, cause = rule.refusal(caller, request), rule.name
            if refusal is not None:
                break
        if refusal is not None:
            report(self.parts.hub, self.name, "forbidden", cause, principal)
            raise refusal

    async def enter(
        self, caller: Caller, request: CostRequest = NO_REQUEST, *, settlement_key: str | None = None
    ) -> Permit:
        """Ask ADMIT for everything at once. Raises the refusal: 402, 422 (cost), 429, 503."""
        if self.takes_nothing:
            return Permit(self.parts, caller, None)
        costs = self.plan.priced(request) if self.plan.has_cost_functions else None
        admission, lacks_account = None, False
        for _ in range(_TRIES):
            ask = await self._ask(caller, request, settlement_key)
            if lacks_account:
                ask = ask.without_hold()
            admission = await count(self.parts, self.plan, caller, costs, ask, again=admission)
            if admission.verdict is Verdict.COLD:
                lacks_account = not await self._load(caller)
            elif (
                admission.verdict is Verdict.OPEN and (circuit := self.resilience.open_circuit()) is not None
            ):
                raise circuit
            elif admission.allowed:
                return Permit(self.parts, caller, admission)
            elif admission.verdict not in (Verdict.CLOCK, Verdict.OPEN):
                raise admission.refusal()
        raise CreditsUnavailable("The account's balance cannot be read now.")

    async def _ask(self, caller: Caller, request: CostRequest, settlement_key: str | None) -> Ask:
        if not self._asks_more:
            return NOTHING
        is_open = self.resilience.open_circuit() is not None
        ask = await self.terms.ask(caller, request, circuit_open=is_open)
        if ask.hold is None or settlement_key is None:
            return ask
        # Apart from those of requests and of other policies; escaped, because the store divides its parts by spaces.
        key = f"w:{self.name}:{escape(settlement_key)}"
        return ask._replace(hold=ask.hold._replace(settlement_key=key))

    async def _load(self, caller: Caller) -> bool:
        assert caller.principal is not None  # noqa: S101 - a hold was asked for
        return await load_account(
            caller.principal.id, self.parts.ledger, self.parts.holds, is_shadow=self.config.shadow
        )
