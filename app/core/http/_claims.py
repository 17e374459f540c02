"""What a request took when it was admitted, and who is owed what at its end.

Settled where the answer is known and nothing has been sent: the result of an idempotent request and a strict debit go into the handler's
own transaction and to the store before the first byte; slots are freed and the cache is filled after the last. Whatever goes wrong before
that gives back claim, slots, quota and credits; attempt limits stay charged.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from fastapi import Request, Response

from app.core.db import SessionScope, find_result, keep_result
from app.core.errors import Unavailable
from app.core.http._answer import Answer, not_retained
from app.core.http._cached_answers import CachedAnswers, Sought
from app.core.http._computation import Computation
from app.core.http._incoming import Incoming
from app.core.http._results import Results, is_failure
from app.core.http._traffic import TrafficControl
from app.core.policies import (
    Admission,
    Admitter,
    Balance,
    Caller,
    CreditLedger,
    HoldBook,
    IdempotencyKeyReused,
    JobConfig,
    Renewals,
    debit_later,
    debit_of,
    reset_charged,
    set_charged,
)

Handler = Callable[[Request], Awaitable[Response]]


class Keeper(NamedTuple):
    """What an endpoint settles with; one per gate."""

    policy: str
    config: JobConfig
    admitter: Admitter
    ledger: CreditLedger | None
    holds: HoldBook | None
    cached: CachedAnswers | None
    results: Results
    renewals: Renewals
    traffic: TrafficControl


class Overtaken(Exception):
    """The result of this key is in the database already: what this request did is rolled back."""


class Claims:
    """One request's. ``has_started`` is set when the handler begins: until then nothing can have happened."""

    __slots__ = (
        "_computation",
        "_has_failed",
        "_incoming",
        "_keeper",
        "_owes_credits",
        "actual",
        "admission",
        "caller",
        "has_started",
        "is_charged",
        "is_settled",
        "receive",
        "stale",
    )  # fmt: skip

    def __init__(
        self,
        keeper: Keeper,
        admission: Admission,
        caller: Caller,
        incoming: Incoming,
        *,
        sought: Sought | None,
        stale: Answer | None = None,
    ) -> None:
        self._keeper = keeper
        self.admission = admission
        self.caller = caller
        self.receive = incoming.receive
        self._incoming = incoming
        self._computation: Computation | None = None
        if (
            sought is not None
            and (admission.is_leader or sought.lead is not None)
            and keeper.cached is not None
        ):
            self._computation = Computation(keeper.cached, sought)
        self.stale = stale
        self.has_started = self.is_charged = False
        self.is_settled = False
        self.actual: int | None = None
        self._has_failed = False
        self._owes_credits = False

    def renew(self) -> None:
        """Keep the leases alive while the handler works."""
        self._keeper.renewals.add(self.admission)

    def end_renewal(self) -> None:
        """Let them end by themselves from now on."""
        self._keeper.renewals.discard(self.admission)

    # -- around the handler ---------------------------------------------------------------------------------------------------

    async def run(self, request: Request, handler: Handler, sessions: SessionScope) -> Response:
        """The handler, with everything that is owed when it returns or fails."""
        if self._is_durable:
            sessions.guard()
            known = await self._known(sessions)
            if known is not None:
                return known
        charged = set_charged(self if self._keeper.config.credits is not None else None)
        try:
            response = await handler(request)
            await self._keeper.traffic.turn()
        except BaseException as error:  # noqa: BLE001 - raised again when everything was given back
            await sessions.rollback()
            return await self._failed(request, error, sessions)
        finally:
            reset_charged(charged)
        return await self._succeeded(response, sessions)

    @property
    def _is_durable(self) -> bool:
        return self.admission.ask.claim is not None and self._keeper.results.is_durable

    async def _known(self, sessions: SessionScope) -> Response | None:
        """The answer that the database has for this key: the store lost it, or its keeper died before telling the store."""
        claim = self.admission.ask.claim
        assert claim is not None  # noqa: S101 - only asked for durable claims
        try:
            stored = await find_result(sessions.first(), claim.key)
        except BaseException:
            await sessions.rollback()
            await self.abort()
            raise
        if stored is None:
            return None
        await sessions.rollback()
        if stored.fingerprint != claim.fingerprint:
            await self.abort()
            raise IdempotencyKeyReused(
                "This Idempotency-Key belongs to another request.", policy=self._keeper.policy
            )
        await self._settle(stored.result, None)
        answer = self._keeper.results.replay(stored.result, claim)
        if answer.body is None:
            raise not_retained(answer)
        return answer.response()

    async def _succeeded(self, response: Response, sessions: SessionScope) -> Response:
        self._has_failed = response.status_code >= 500
        blob = self._keeper.results.of(response, self.admission.ask.claim)
        try:
            balance = await self._write(blob, self._charge(response.status_code), sessions)
            if sessions.is_used:
                await sessions.commit()
        except Overtaken:
            await sessions.rollback()
            known = await self._known(sessions)
            if known is None:
                raise Unavailable("Another request with this key is being finished.") from None
            return known
        except BaseException as error:
            await sessions.rollback()
            await self._not_committed(error, sessions)
            raise
        if self._computation is not None:
            response = self._computation.take(response, self._incoming.scope)
        if blob is not None or balance is not None:
            await self._settle(blob, balance)
        return response

    async def _write(self, blob: bytes | None, charge: int, sessions: SessionScope) -> Balance | None:
        """What belongs into the handler's transaction: its result and its debit."""
        claim, keeper = self.admission.ask.claim, self._keeper
        if blob is not None and claim is not None and self._is_durable:
            retention_s = claim.retention_ms / 1000
            if not await keep_result(sessions.first(), claim.key, claim.fingerprint, blob, retention_s):
                raise Overtaken
        hold = self.admission.ask.price
        if hold is None or not charge or keeper.ledger is None or keeper.config.credits is None:
            return None
        self.is_charged = True
        if keeper.config.credits.settle == "batched":
            self._owes_credits = True
            self.actual = charge
            return None
        debit = debit_of(self.admission, self.caller, charge, self._incoming.request_id)
        return await keeper.ledger.debit(sessions.first(), debit)

    def _charge(self, status: int) -> int:
        hold = self.admission.ask.price
        if hold is None or status >= 400:
            return 0
        return hold.micro if self.actual is None else self.actual

    async def _not_committed(self, error: BaseException, sessions: SessionScope) -> None:
        """Give everything back, unless the commit may have happened all the same: then database and leases decide."""
        is_owed = self._is_durable or self.admission.ask.price is not None
        if sessions.is_in_doubt or (isinstance(error, Unavailable) and is_owed):
            self.is_settled = True
            await self._throttle()
            await self._keeper.admitter.abort(self.admission, keep_claim=True, keep_hold=True)
            if self._computation is not None:
                self._computation.end()
        else:
            await self.abort()

    async def _failed(self, request: Request, error: BaseException, sessions: SessionScope) -> Response:
        """An error is a result too, once the handler has begun; returns it, or gives everything back and raises."""
        if self._computation is not None and self.has_started and self.admission.ask.claim is None:
            negative = await self._computation.negative(request, error, self._incoming.scope)
            if negative is not None:
                return negative
        self._has_failed = is_failure(error)
        response = await self._result_of(request, error)
        if response is None:
            await self.abort(keep_claim=self._effect_is_unknown(error))
            raise error
        blob = self._keeper.results.of(response, self.admission.ask.claim)
        try:
            await self._write(blob, 0, sessions)
            if sessions.is_used:
                await sessions.commit()
        except BaseException:  # noqa: BLE001 - the first error is the one to tell
            await sessions.rollback()
            await self.abort(keep_claim=True)
            raise error from None
        await self._settle(blob, None)
        if response.status_code >= 500:
            raise error
        return response

    async def _result_of(self, request: Request, error: BaseException) -> Response | None:
        if self.admission.ask.claim is None or not self.has_started:
            return None
        return await self._keeper.results.of_error(request, error)

    def _effect_is_unknown(self, error: BaseException) -> bool:
        """Cancelled in the middle, with nothing that rolls back what it did: the claim stays until its lease ends."""
        return self.has_started and not isinstance(error, Exception) and not self._is_durable

    # -- towards the store ----------------------------------------------------------------------------------------------------

    async def _settle(self, blob: bytes | None, balance: Balance | None) -> None:
        self.is_settled = True
        computation = self._computation
        entry = computation.entry(self.admission.versions) if computation is not None else None
        # A batched debit keeps its hold until it is in the ledger.
        await self._keeper.admitter.settle(self.admission, blob, balance, entry, keep_hold=self._owes_credits)
        if computation is not None:
            computation.end()

    async def finish(self) -> None:
        """After the last byte: free what is still taken, write what was put off. Never raises for the store."""
        if not self.is_settled:
            self.is_settled = True
            try:
                if self._has_failed:
                    await self._throttle()
                await self._keeper.traffic.turn()
            finally:  # also when it is cancelled here: the caller has his answer
                self._settle_soon()
                self._debit_later()
        else:
            self._debit_later()

    def _settle_soon(self) -> None:
        computation = self._computation
        entry = computation.entry(self.admission.versions) if computation is not None else None
        self._keeper.admitter.settle_soon(self.admission, entry=entry, keep_hold=self._owes_credits)
        if computation is not None:
            computation.end()  # calls go out in their order: who looks now finds what was just sent

    def _debit_later(self) -> None:
        if not self._owes_credits:
            return
        ledger, holds = self._keeper.ledger, self._keeper.holds
        self._owes_credits = False
        if ledger is not None and holds is not None:
            debit = debit_of(self.admission, self.caller, self.actual, self._incoming.request_id)
            debit_later(ledger, holds, self.admission, debit)

    async def _throttle(self) -> None:
        """After a failure, where a stale answer can be given, others do not try at once."""
        if self._has_failed and self.stale is not None and self._computation is not None:
            await self._computation.throttle(self.admission.rid)

    async def abort(self, *, keep_claim: bool = False) -> None:
        """Give back claim, slots, quota and credits. Doing it again does nothing."""
        if not self.is_settled:
            self.is_settled = True
            await self._throttle()
            await self._keeper.admitter.abort(self.admission, keep_claim=keep_claim)
        if self._computation is not None:
            self._computation.end()  # also when it was cancelled while it was settled
