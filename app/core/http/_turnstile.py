"""The part of a gate that is about more than rate limits: idempotency, cache, quota, slots, credits and open circuits.

One round trip decides on all of them together with the limits; what follows from its verdict is here.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.types import Receive

from app.core.http._answer import Answer, replay_of
from app.core.http._cached_answers import CachedAnswers, Sought
from app.core.http._claims import Claims, Keeper
from app.core.http._cost_request import cost_request
from app.core.http._idempotency_key import IdempotencyKeys, read_body
from app.core.policies import (
    NO_REQUEST,
    Admission,
    Admitter,
    Ask,
    Caller,
    CircuitOpen,
    Claim,
    CostRequest,
    CreditLedger,
    CreditsUnavailable,
    HoldBook,
    JobConfig,
    NoCapacity,
    Plan,
    PlanSource,
    Renewals,
    Resilience,
    Terms,
    Verdict,
    load_account,
)
from app.core.security import DataEncryptor, Sealer
from app.core.valkey import Cache, StoreError

_TRIES = 4
_CACHED = frozenset({Verdict.FRESH, Verdict.STALE, Verdict.WAIT})
Scope = Mapping[str, Any]


class Keeping(NamedTuple):
    """What the features of one application bring for policies that keep something; each part may be absent."""

    ledger: CreditLedger | None = None
    holds: HoldBook | None = None
    plans: PlanSource | None = None
    cache: Cache | None = None
    sealer: Sealer | None = None
    renewals: Renewals | None = None
    encryptor: DataEncryptor | None = None


class Incoming(NamedTuple):
    """A request as the gate sees it: its head, where its body comes from, the route's path template, its id."""

    scope: Scope
    receive: Receive
    template: str
    request_id: str


class Passage(NamedTuple):
    """What became of a request: admitted with ``claims``, answered at once, or (both None) refused: with ``refusal``, or as ``admission``
    says.
    """

    admission: Admission
    claims: Claims | None = None
    answer: Answer | None = None
    is_due: bool = False
    refusal: CircuitOpen | None = None


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
    ) -> None:
        self._plan = plan
        self._admitter = admitter
        self._keeping = keeping
        self._resilience = resilience
        self._terms = Terms(policy, config, plans=keeping.plans, server_ms=admitter.server_time_ms)
        self._asks_cost = any(
            callable(part.cost) for part in (*config.quotas, config.credits) if part is not None
        )
        self._keys = (
            IdempotencyKeys(policy, config.idempotency, self._terms.lease_s) if config.idempotency else None
        )
        self._sealer = keeping.sealer if config.encryption else None
        self._cached = self._response_cache(policy, config)
        self._keeper = Keeper(
            policy,
            config,
            admitter,
            keeping.ledger,
            keeping.holds,
            self._cached,
            self._sealer,
            keeping.renewals or Renewals(admitter),
        )

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
        """Ask ADMIT, and ask again where its verdict says so. Raises 400, 408, 413, 422 for what is wrong, 503 for what is down."""
        scope, claim = incoming.scope, None
        if self._keys is not None and (key := self._keys.key_of(scope)) is not None:
            body, receive = await read_body(incoming.receive)
            incoming = incoming._replace(receive=receive)
            claim = self._keys.claim(key, scope, incoming.template, body, caller)
        sought = self._cached.seek(scope, caller) if self._cached is not None else None
        request = cost_request(scope) if self._asks_cost else NO_REQUEST
        must_compute, lacks_account = sought is not None and sought.is_anew, False
        former: Admission | None = None
        for _ in range(_TRIES):
            ask = await self._ask(caller, request, claim, sought, must_compute=must_compute)
            if lacks_account:
                ask = ask.without_hold()
            admission = await self._admitter.admit(self._plan, caller, costs, ask, again=former)
            former = admission
            verdict = admission.verdict
            if verdict is Verdict.COLD:
                lacks_account = not await self._load(caller)
            elif sought is not None and (verdict in _CACHED or (admission.degraded and admission.allowed)):
                passage = await self._shared(admission, caller, incoming, sought, may_wait=not must_compute)
                if passage is not None:
                    return passage
                must_compute = True
            elif verdict is not Verdict.CLOCK:
                return self._passage(admission, caller, incoming, sought)
        raise CreditsUnavailable("The account's balance cannot be read now.")

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

    async def _load(self, caller: Caller) -> bool:
        assert caller.principal is not None  # noqa: S101 - a hold was asked for
        keeping = self._keeping
        return await load_account(
            caller.principal.id, keeping.ledger, keeping.holds, is_shadow=self._keeper.config.shadow
        )

    async def _shared(
        self, admission: Admission, caller: Caller, incoming: Incoming, sought: Sought, *, may_wait: bool
    ) -> Passage | None:
        """An answer that others have computed, or compute now. None: there is none that could be given."""
        if admission.verdict is Verdict.WAIT:
            answer = await self._wait(sought, incoming.scope)
            return Passage(admission, answer=answer) if answer is not None else None
        if admission.verdict in _CACHED:
            return self._hit(admission, sought, incoming.scope)
        return await self._without_store(admission, caller, incoming, sought, may_wait=may_wait)

    async def _wait(self, sought: Sought, scope: Scope) -> Answer | None:
        cached = self._cached
        assert cached is not None  # noqa: S101 - somebody looked an answer up
        try:
            entry = await cached.cache.wait_for(sought.key, sought.tags, cached.config.hard_timeout)
        except StoreError:
            return None
        answer = cached.open(entry, sought.key) if entry is not None else None
        return cached.hit(answer, entry, scope) if answer is not None and entry is not None else None

    async def _without_store(
        self, admission: Admission, caller: Caller, incoming: Incoming, sought: Sought, *, may_wait: bool
    ) -> Passage | None:
        """What one request computes is the answer of all in this process who ask for it meanwhile. None: it was waited for in vain."""
        cached, answered = self._cached, admission.answer
        assert cached is not None and answered is not None  # noqa: S101, PT018 - somebody looked an answer up
        name, patience_s = (sought.key, cached.cache.invalidations), cached.config.hard_timeout
        if may_wait and cached.local.is_computed(name):
            await self._admitter.abort(admission)
            answer = await cached.local.wait_for(name, patience_s)
            if answer is None:
                return None
            waited = admission._replace(allowed=False, answer=answered._replace(verdict=Verdict.WAIT))
            return Passage(waited, answer=cached.collapsed(answer, incoming.scope))
        lead = None
        try:
            lead = await cached.local.lead(name, patience_s)
        finally:
            if lead is None:
                self._admitter.abort_soon(admission)
        if lead is None:
            raise NoCapacity("The service computes as much as it can; its cache is away.", retry_after=2)
        claims = self._claims(admission, caller, incoming, sought._replace(lead=lead))
        return Passage(admission, claims=claims)

    def _hit(self, admission: Admission, sought: Sought, scope: Scope) -> Passage | None:
        cached = self._cached
        assert cached is not None  # noqa: S101 - somebody looked an answer up
        found = cached.read(admission.tail, sought.key)
        if found is None:
            return None
        entry, answer = found
        is_fresh = admission.verdict is Verdict.FRESH
        status = b"hit" if is_fresh else b"hit; detail=stale"
        return Passage(
            admission,
            answer=cached.hit(answer, entry, scope, status),
            is_due=is_fresh and cached.is_due(entry),
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
        stale = self._stale(admission, sought, incoming.scope)
        return Passage(admission, claims=self._claims(admission, caller, incoming, sought, stale))

    def _claims(
        self,
        admission: Admission,
        caller: Caller,
        incoming: Incoming,
        sought: Sought | None,
        stale: Answer | None = None,
    ) -> Claims:
        return Claims(
            self._keeper,
            admission,
            caller,
            scope=incoming.scope,
            receive=incoming.receive,
            request_id=incoming.request_id,
            sought=sought,
            stale=stale,
        )

    def _replay(self, admission: Admission) -> Answer:
        claim = admission.ask.claim
        assert claim is not None  # noqa: S101 - nothing else is replayed
        return replay_of(admission.tail, claim.key, self._sealer)

    def _stale(self, admission: Admission, sought: Sought | None, scope: Scope) -> Answer | None:
        cached = self._cached
        if cached is None or sought is None or not admission.is_leader or not admission.tail:
            return None
        if sought.is_anew:
            return None
        found = cached.read(admission.tail, sought.key)
        return cached.hit(found[1], found[0], scope, b"hit; detail=stale") if found is not None else None

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
        return self._claims(admission, caller, incoming, sought)
