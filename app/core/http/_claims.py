"""What a request took when it was admitted, and who is owed what at its end.

Settled where the answer is known and nothing has been sent: the result of an idempotent request and a strict debit go into the handler's
own transaction and to the store before the first byte; slots are freed and the cache is filled after the last. Whatever goes wrong before
that gives back claim, slots, quota and credits; attempt limits stay charged.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import NamedTuple

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.core.db import SessionScope, find_result, keep_result
from app.core.errors import GatehouseError, NotAuthenticated, PermissionDenied, Unavailable
from app.core.http._answer import KEPT_HEADERS, Answer, answer_of, not_retained, pack, replay_of
from app.core.http._cached_answers import CachedAnswers, Sought
from app.core.http._incoming import Incoming
from app.core.http._problem import response_to
from app.core.policies import (
    Admission,
    Admitter,
    Balance,
    Caller,
    CreditLedger,
    Debit,
    HoldBook,
    IdempotencyKeyReused,
    JobConfig,
    Renewals,
    reset_charged,
    set_charged,
)
from app.core.security import Sealer
from app.core.valkey import Put, StoreError

_log = structlog.get_logger(__name__)
_NOT_RESULTS = frozenset({401, 403, 409, 425, 429, 503})
"""Statuses that say "not now" or "not you": a retry under the same key must be able to have another outcome."""

Handler = Callable[[Request], Awaitable[Response]]


class Keeper(NamedTuple):
    """What an endpoint settles with; one per gate."""

    policy: str
    config: JobConfig
    admitter: Admitter
    ledger: CreditLedger | None
    holds: HoldBook | None
    cached: CachedAnswers | None
    sealer: Sealer | None
    renewals: Renewals


class Overtaken(Exception):
    """The result of this key is in the database already: what this request did is rolled back."""


def _is_failure(error: BaseException) -> bool:
    """Whether something went wrong here. Answers below 500, however they are raised, are answers: no stale one may stand in for them."""
    if isinstance(error, GatehouseError):
        return error.status >= 500
    if isinstance(error, HTTPException):
        return error.status_code >= 500
    return isinstance(error, Exception) and not isinstance(error, RequestValidationError)


class Claims:
    """One request's. ``has_started`` is set when the handler begins: until then nothing can have happened."""

    __slots__ = (
        "_began",
        "_has_failed",
        "_incoming",
        "_keeper",
        "_kept",
        "_owes_credits",
        "actual",
        "admission",
        "caller",
        "has_started",
        "is_settled",
        "receive",
        "sought",
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
        computes = sought is not None and (admission.is_leader or sought.lead is not None)
        self.sought = sought if computes else None
        if self.sought is not None and keeper.cached is not None:
            keeper.cached.announce(self.sought)
        self.stale = stale
        self.has_started = False
        self.is_settled = False
        self.actual: int | None = None
        self._began = monotonic()
        self._has_failed = False
        self._kept: Answer | None = None
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
        except BaseException as error:  # noqa: BLE001 - raised again when everything was given back
            await sessions.rollback()
            return await self._failed(request, error, sessions)
        finally:
            reset_charged(charged)
        return await self._succeeded(response, sessions)

    @property
    def _is_durable(self) -> bool:
        policy = self._keeper.config.idempotency
        return self.admission.ask.claim is not None and policy is not None and policy.durability == "db"

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
        answer = replay_of(stored.result, claim.key, self._keeper.sealer)
        if answer.body is None:
            raise not_retained(answer)
        return answer.response()

    async def _succeeded(self, response: Response, sessions: SessionScope) -> Response:
        self._has_failed = response.status_code >= 500
        blob = self._result_of(response)
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
        response = self._for_cache(response)
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
        hold = self.admission.ask.hold
        if hold is None or not charge or keeper.ledger is None or keeper.config.credits is None:
            return None
        if keeper.config.credits.settle == "batched":
            self._owes_credits = True
            self.actual = charge
            return None
        return await keeper.ledger.debit(sessions.first(), self._debit(charge))

    def _debit(self, charge: int) -> Debit:
        hold, principal = self.admission.ask.hold, self.caller.principal
        assert hold is not None and principal is not None  # noqa: S101, PT018 - credits are held for accounts only
        return Debit(
            principal.id, charge, hold.settlement_key, self._keeper.policy, self._incoming.request_id
        )

    def _charge(self, status: int) -> int:
        hold = self.admission.ask.hold
        if hold is None or status >= 400:
            return 0
        return hold.micro if self.actual is None else self.actual

    async def _not_committed(self, error: BaseException, sessions: SessionScope) -> None:
        """Give everything back, unless the commit may have happened all the same: then database and leases decide."""
        is_owed = self._is_durable or self.admission.ask.hold is not None
        if sessions.is_in_doubt or (isinstance(error, Unavailable) and is_owed):
            self.is_settled = True
            await self._throttle()
            await self._keeper.admitter.abort(self.admission, keep_claim=True, keep_hold=True)
            self._tell_followers()
        else:
            await self.abort()

    async def _failed(self, request: Request, error: BaseException, sessions: SessionScope) -> Response:
        """An error is a result too, once the handler has begun; returns it, or gives everything back and raises."""
        negative = await self._negative(request, error)
        if negative is not None:
            return self._for_cache(negative)
        self._has_failed = _is_failure(error)
        response = await self._result_of_error(request, error)
        if response is None:
            await self.abort(keep_claim=self._effect_is_unknown(error))
            raise error
        blob = self._result_of(response)
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

    async def _negative(self, request: Request, error: BaseException) -> Response | None:
        """A 404 or 410 that the handler raised, where those are cached too."""
        cached = self._keeper.cached
        if cached is None or self.sought is None or not self.has_started or not isinstance(error, Exception):
            return None
        if not cached.config.negative_ttl or self.admission.ask.claim is not None:
            return None
        response = await response_to(request, error)
        if response.status_code not in (404, 410):
            return None
        # A problem document says no-store to caches that nobody asked; here it was asked for.
        response.raw_headers = [header for header in response.raw_headers if header[0] != b"cache-control"]
        return response

    def _effect_is_unknown(self, error: BaseException) -> bool:
        """Cancelled in the middle, with nothing that rolls back what it did: the claim stays until its lease ends."""
        return self.has_started and not isinstance(error, Exception) and not self._is_durable

    async def _result_of_error(self, request: Request, error: BaseException) -> Response | None:
        policy = self._keeper.config.idempotency
        if self.admission.ask.claim is None or policy is None:
            return None
        if not self.has_started or not isinstance(error, Exception):
            return None
        if isinstance(error, NotAuthenticated | PermissionDenied):
            return None
        response = await response_to(request, error)
        if response.status_code in _NOT_RESULTS or (response.status_code >= 500 and not policy.saves_errors):
            return None
        return response

    def _result_of(self, response: Response) -> bytes | None:
        claim, policy = self.admission.ask.claim, self._keeper.config.idempotency
        if claim is None or policy is None or response.status_code in _NOT_RESULTS:
            return None
        keep = KEPT_HEADERS | {name.lower().encode() for name in policy.headers}
        blob = pack(answer_of(response, keep=keep, most=policy.max_body))
        sealer = self._keeper.sealer
        return sealer.seal(blob, claim.key.encode()) if sealer is not None else blob

    def _for_cache(self, response: Response) -> Response:
        """The response as its caller gets it; what may be kept of it is stored after the last byte."""
        cached = self._keeper.cached
        if cached is None or self.sought is None:
            return response
        self._kept = cached.keepable(response)
        if self._kept is None:
            return response
        final = cached.fresh(response, self._kept, self._incoming.scope, self.sought)
        final.background = response.background
        return final

    # -- towards the store ----------------------------------------------------------------------------------------------------

    async def _settle(self, blob: bytes | None, balance: Balance | None) -> None:
        self.is_settled = True
        await self._keeper.admitter.settle(self._without_late_hold(), blob, balance, self._entry())
        self._tell_followers()

    def _without_late_hold(self) -> Admission:
        """A batched debit keeps its hold until it is in the ledger."""
        if not self._owes_credits:
            return self.admission
        return self.admission._replace(ask=self.admission.ask._replace(hold=None))

    async def finish(self) -> None:
        """After the last byte: free what is still taken, write what was put off. Never raises for the store."""
        if not self.is_settled:
            self.is_settled = True
            await self._throttle()
            self._keeper.admitter.settle_soon(self._without_late_hold(), entry=self._entry())
            # Calls go out in their order: who looks now finds what was just sent.
            self._tell_followers()
        if self._owes_credits:
            self._debit_later()

    def _debit_later(self) -> None:
        ledger, holds, hold = self._keeper.ledger, self._keeper.holds, self.admission.ask.hold
        self._owes_credits = False
        if ledger is None or holds is None or hold is None or self.actual is None:
            return
        debit, rid = self._debit(self.actual), self.admission.rid
        ledger.debit_later(debit, partial(holds.free_soon, debit.account, rid))

    def _entry(self) -> Put | None:
        """What was computed for the cache, if it may be kept; else its lease is given up."""
        cached, sought, kept = self._keeper.cached, self.sought, self._kept
        if cached is None or sought is None or kept is None:
            return None
        versions, took_s = self.admission.versions.decode(), monotonic() - self._began
        return cached.entry(sought, kept, versions=versions, took_s=took_s)

    def _tell_followers(self) -> None:
        cached, sought = self._keeper.cached, self.sought
        if cached is not None and sought is not None:
            self.sought = None
            cached.end(sought, self._kept)

    async def _throttle(self) -> None:
        """After a failure, where a stale answer can be given, others do not try at once."""
        cached, sought = self._keeper.cached, self.sought
        if cached is not None and sought is not None and self._has_failed and self.stale is not None:
            with suppress(StoreError):  # the lease then ends by itself
                await cached.throttle(sought, self.admission.rid)

    async def abort(self, *, keep_claim: bool = False) -> None:
        """Give back claim, slots, quota and credits. Doing it again does nothing."""
        if self.is_settled:
            self._tell_followers()  # cancelled while it was settled
            return
        self.is_settled = True
        await self._throttle()
        await self._keeper.admitter.abort(self.admission, keep_claim=keep_claim)
        self._tell_followers()
