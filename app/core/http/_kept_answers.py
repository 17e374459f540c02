"""Answering a request with what another one computed: from the store, from whoever computes it now, and in an outage from this process."""

from collections.abc import Mapping
from typing import Any

from app.core.http._answer import Answer
from app.core.http._cached_answers import CachedAnswers, Sought
from app.core.http._claims import Claims
from app.core.http._incoming import Incoming
from app.core.http._keeper import Keeper
from app.core.http._passage import Passage
from app.core.policies import Admission, Caller, NoCapacity, Verdict
from app.core.valkey import StoreError

CACHED = frozenset({Verdict.FRESH, Verdict.STALE, Verdict.WAIT})
"""Verdicts on a request whose answer is there, or is being computed."""
Scope = Mapping[str, Any]


class KeptAnswers:
    """One endpoint's, for requests that looked an answer up."""

    def __init__(self, cached: CachedAnswers, keeper: Keeper) -> None:
        self._cached = cached
        self._keeper = keeper

    def stale(self, admission: Admission, sought: Sought, scope: Scope) -> Answer | None:
        """The answer that was there until now, for the request that computes it anew; None when there is none that it may be given."""
        if not admission.tail or sought.is_anew:
            return None
        kept = self._cached.read(admission.tail, sought.key)
        return self._cached.hit(kept, scope, b"hit; detail=stale") if kept is not None else None

    async def give(
        self, admission: Admission, caller: Caller, incoming: Incoming, sought: Sought, *, may_wait: bool
    ) -> Passage | None:
        """An answer that others have computed, or compute now. None: there is none that could be given.

        Raises NoCapacity (503) when the store is away and this process computes as much as it can.
        """
        if admission.verdict is Verdict.WAIT:
            answer = await self._wait(sought, incoming.scope)
            return Passage(admission, answer=answer) if answer is not None else None
        if admission.verdict in CACHED:
            return self.hit(admission, sought, incoming.scope)
        return await self._without_store(admission, caller, incoming, sought, may_wait=may_wait)

    async def _wait(self, sought: Sought, scope: Scope) -> Answer | None:
        cached = self._cached
        try:
            entry = await cached.cache.wait_for(sought.key, sought.tags, cached.config.hard_timeout)
        except StoreError:
            return None
        kept = cached.open(entry, sought.key) if entry is not None else None
        return cached.hit(kept, scope) if kept is not None else None

    async def _without_store(
        self, admission: Admission, caller: Caller, incoming: Incoming, sought: Sought, *, may_wait: bool
    ) -> Passage | None:
        """What one request computes is the answer of all in this process who ask for it meanwhile. None: it was waited for in vain."""
        cached, answered, admitter = self._cached, admission.answer, self._keeper.admitter
        assert answered is not None  # noqa: S101 - somebody looked an answer up
        name, patience_s = (sought.key, cached.cache.invalidations), cached.config.hard_timeout
        if may_wait and cached.local.is_computed(name):
            await admitter.abort(admission)
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
                admitter.abort_soon(admission)
        if lead is None:
            raise NoCapacity("The service computes as much as it can; its cache is away.", retry_after=2)
        claims = Claims(self._keeper, admission, caller, incoming, sought=sought._replace(lead=lead))
        return Passage(admission, claims=claims)

    def hit(self, admission: Admission, sought: Sought, scope: Scope) -> Passage | None:
        """The stored answer that ADMIT found; None when it cannot be read."""
        cached = self._cached
        kept = cached.read(admission.tail, sought.key)
        if kept is None:
            return None
        is_fresh = admission.verdict is Verdict.FRESH
        # One from before the clock went back says that it is fresh for long: a glance would not find it so.
        cached.saw(sought.key, kept.entry.fresh if is_fresh else None)
        status = b"hit" if is_fresh else b"hit; detail=stale"
        return Passage(
            admission,
            answer=cached.hit(kept, scope, status),
            is_due=is_fresh and cached.is_due(kept.entry),
        )
