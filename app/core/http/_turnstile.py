"""The part of a gate that is about more than rate limits: idempotency, cache, quota, slots, credits and open circuits.

One round trip decides on all of them together with the limits; what follows from its verdict is here.
"""

from app.core.http._answer import Answer
from app.core.http._cached_answers import CachedAnswers, Sought
from app.core.http._claims import Claims
from app.core.http._cost_request import cost_request
from app.core.http._deliveries import Deliveries
from app.core.http._gate_kit import Keeping
from app.core.http._glances import Glances
from app.core.http._idempotency_key import IdempotencyKeys, read_body
from app.core.http._incoming import Incoming
from app.core.http._keeper import Keeper
from app.core.http._kept_answers import CACHED, KeptAnswers, Scope
from app.core.http._passage import Passage
from app.core.http._results import Results
from app.core.http._traffic import TrafficControl
from app.core.policies import (
    NO_REQUEST,
    Admission,
    Admitter,
    Ask,
    Caller,
    Claim,
    CostRequest,
    CreditsUnavailable,
    JobConfig,
    KnownQuestion,
    Lookup,
    Plan,
    Renewals,
    Resilience,
    StandingQuestions,
    Terms,
    Verdict,
    load_account,
    without_price,
)
from app.core.resilience import Clock

_TRIES = 4
_SAID = frozenset({Verdict.LIMITED, Verdict.REVOKED})
"""What a look at the stored answer alone may refuse with."""


class Turnstile:
    """One endpoint's, compiled. ``enter`` runs for each of its requests, after they were identified and authorised."""

    def __init__(
        self,
        policy: str,
        config: JobConfig,
        plan: Plan,
        *,
        admitter: Admitter,
        keeping: Keeping,
        resilience: Resilience,
        traffic: TrafficControl,
        clock: Clock,
    ) -> None:
        self._plan = plan
        self._admitter = admitter
        self._keeping = keeping
        self._resilience = resilience
        self._terms = Terms(policy, config, plans=keeping.plans, server_ms=admitter.server_time_ms)
        self._asks_cost = any(
            callable(part.cost) for part in (*config.quotas, config.credits) if part is not None
        )
        is_standing = not (self._asks_cost or plan.has_cost_functions)
        self._standing = StandingQuestions(admitter, self._terms) if is_standing else None
        self._keys = (
            IdempotencyKeys(policy, config.idempotency, self._terms.lease_s) if config.idempotency else None
        )
        self._deliveries = (
            Deliveries(config.webhook, keeping.webhooks[config.webhook.source], clock, self._terms.lease_s)
            if config.webhook
            else None
        )
        self._sealer = keeping.sealer if config.encryption else None
        self._results = Results(config.repeats, self._sealer)
        self._cached = cached = self._response_cache(policy, config)
        self._keeper = keeper = Keeper(
            policy,
            config,
            admitter,
            keeping.ledger,
            keeping.holds,
            cached,
            self._results,
            keeping.renewals or Renewals(admitter),
            traffic,
        )
        self._kept = KeptAnswers(cached, keeper) if cached is not None else None
        has_claims = self._keys is not None or self._deliveries is not None
        is_alike = cached is not None and cached.is_plain and not has_claims and not plan.has_cost_functions
        self._glances = Glances(cached, admitter) if cached is not None and is_alike else None

    def _response_cache(self, policy: str, config: JobConfig) -> CachedAnswers | None:
        if config.cache is None or self._keeping.cache is None:
            return None
        return CachedAnswers(
            policy,
            config.cache,
            cache=self._keeping.cache,
            sealer=self._sealer,
            lease_s=self._terms.lease_s,
            now_ms=self._admitter.server_time_ms,
        )

    @property
    def soft_timeout(self) -> float:
        """Seconds that a caller waits for a new answer when there is a stale one."""
        return self._cached.config.soft_timeout if self._cached is not None else 0.0

    async def enter(self, incoming: Incoming, caller: Caller, *, costs: tuple[int, ...] | None) -> Passage:
        """Ask ADMIT, and ask again where its verdict says so. Raises 400, 401 (a webhook's signature), 408, 413, 422 for what is wrong, 503
        for what is down.
        """
        scope = incoming.scope
        known = self._glances.find(scope, caller) if self._glances is not None else None
        if known is not None:
            sought, question = known
            former = await self._admitter.admit_known(question)
            passage = self._glanced(former, sought, scope)
            return passage or await self._enter_asking(incoming, caller, None, sought, former, costs=costs)
        claim, incoming = await self._claim(incoming, caller)
        found = self._cached.seek(scope, caller) if self._cached is not None else None
        if found is None or claim is not None or (glance := self._cached_glance(found)) is None:
            return await self._enter_asking(incoming, caller, claim, found, None, costs=costs)
        former = await self._admitter.admit(self._plan, caller, costs, Ask(lookup=glance))
        passage = self._glanced(former, found, scope)
        if passage is None:
            return await self._enter_asking(incoming, caller, claim, found, former, costs=costs)
        if self._glances is not None:
            self._glances.keep(scope, found, caller, former)
        return passage

    async def _enter_asking(
        self,
        incoming: Incoming,
        caller: Caller,
        claim: Claim | None,
        sought: Sought | None,
        former: Admission | None,
        *,
        costs: tuple[int, ...] | None,
    ) -> Passage:
        """Ask for all that it takes; ``former`` is what a look at the stored answer alone has come to."""
        request = cost_request(incoming.scope) if self._asks_cost else NO_REQUEST
        must_compute, lacks_account = sought is not None and sought.is_anew, False
        for _ in range(_TRIES):
            is_first = former is None and claim is None
            question = await self._asked_before(caller, sought) if is_first else None
            if question is not None:
                admission = await self._admitter.admit_known(question)
            else:
                ask = await self._ask(caller, request, claim, sought, must_compute=must_compute)
                if lacks_account:
                    ask = ask.without_hold()
                admission = await self._admitter.admit(self._plan, caller, costs, ask, again=former)
                if admission.allowed and self._standing is not None:
                    self._standing.keep(caller, admission)
            former = admission
            verdict = admission.verdict
            is_shared = verdict in CACHED or (admission.degraded and admission.allowed)
            if verdict is Verdict.COLD:
                lacks_account = not await self._load(caller)
            elif is_shared and sought is not None and self._kept is not None:
                passage = await self._kept.give(
                    admission, caller, incoming, sought, may_wait=not must_compute
                )
                if passage is not None:
                    return passage
                must_compute = True
            elif verdict is not Verdict.CLOCK:
                return self._passage(admission, caller, incoming, sought)
        raise CreditsUnavailable("The account's balance cannot be read now.")

    async def _claim(self, incoming: Incoming, caller: Caller) -> tuple[Claim | None, Incoming]:
        """By what the request is known when it comes again; the body is read only where that needs it."""
        scope, template = incoming.scope, incoming.template
        if self._deliveries is not None:
            message = self._deliveries.head(scope)
            body, receive = await read_body(incoming.receive)
            return self._deliveries.claim(message, scope, template, body), incoming._replace(receive=receive)
        if self._keys is None or (key := self._keys.key_of(scope)) is None:
            return None, incoming
        body, receive = await read_body(incoming.receive)
        return self._keys.claim(key, scope, template, body, caller), incoming._replace(receive=receive)

    def _cached_glance(self, sought: Sought) -> Lookup | None:
        return self._cached.glance(sought) if self._cached is not None else None

    def _glanced(self, admission: Admission, sought: Sought, scope: Scope) -> Passage | None:
        """What a look at the stored answer alone comes to; None where all has to be asked."""
        assert self._cached is not None and self._kept is not None  # noqa: S101, PT018 - by the caller
        if admission.verdict is Verdict.FRESH and (passage := self._kept.hit(admission, sought, scope)):
            return passage
        self._cached.saw(sought.key, None)
        return Passage(admission) if admission.verdict in _SAID else None

    async def _ask(
        self,
        caller: Caller,
        request: CostRequest,
        claim: Claim | None,
        sought: Sought | None,
        *,
        must_compute: bool,
    ) -> Ask:
        lookup = None
        if sought is not None and self._cached is not None:
            lookup = self._cached.lookup(sought, must_compute=must_compute)
        return await self._terms.ask(
            caller,
            request,
            claim=claim,
            lookup=lookup,
            circuit_open=self._resilience.open_circuit() is not None,
        )

    async def _asked_before(self, caller: Caller, sought: Sought | None) -> KnownQuestion | None:
        """The question of a caller who comes again; None where it has to be put together."""
        if self._standing is None or self._resilience.open_circuit() is not None:
            return None
        lookup = None
        if sought is not None and self._cached is not None:
            lookup = self._cached.lookup(sought, must_compute=sought.is_anew)
        return await self._standing.find(caller, lookup)

    async def _load(self, caller: Caller) -> bool:
        assert caller.principal is not None  # noqa: S101 - a hold was asked for
        keeping = self._keeping
        return await load_account(
            caller.principal.id, keeping.ledger, keeping.holds, is_shadow=self._keeper.config.shadow
        )

    def _passage(
        self, admission: Admission, caller: Caller, incoming: Incoming, sought: Sought | None
    ) -> Passage:
        if admission.verdict is Verdict.REPLAY:
            return Passage(admission, answer=self._replay(admission))
        if admission.verdict is Verdict.OPEN and (circuit := self._resilience.open_circuit()) is not None:
            return Passage(admission, refusal=circuit)
        if not admission.allowed:
            return Passage(admission)
        stale = None
        if self._kept is not None and sought is not None and admission.is_leader:
            stale = self._kept.stale(admission, sought, incoming.scope)
        return Passage(
            admission, claims=Claims(self._keeper, admission, caller, incoming, sought=sought, stale=stale)
        )

    def _replay(self, admission: Admission) -> Answer:
        claim = admission.ask.claim
        assert claim is not None  # noqa: S101 - nothing else is replayed
        return self._results.replay(admission.tail, claim)

    def free(self, claims: Claims) -> bool:
        """Its caller gets a stale answer, which costs as little as any other that is kept: give back what he would have paid.

        False: he pays, because the debit of the new one is being written.
        """
        if claims.is_charged:
            return False
        price, claims.admission = claims.admission, without_price(claims.admission)
        if not claims.is_settled:
            claims.renew()
        self._admitter.give_back_price_soon(price)
        return True

    async def lead(self, incoming: Incoming, caller: Caller) -> Claims | None:
        """Take the lease of an answer that is about to end, to compute it in the background; None when somebody else has it."""
        cached = self._cached
        sought = cached.seek(incoming.scope, caller) if cached is not None else None
        if cached is None or sought is None:
            return None
        lookup = cached.lookup(sought, must_compute=True)
        admission = await self._admitter.admit(
            self._plan.only(lambda _: False), caller, None, Ask(lookup=lookup)
        )
        if not (admission.allowed and admission.is_leader):
            return None
        return Claims(self._keeper, admission, caller, incoming, sought=sought)
