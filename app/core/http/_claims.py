"""A request that was admitted, and who is owed what when its handler returns or fails.

Settled where the answer is known and nothing has been sent: the result of an idempotent request and a strict debit go into the handler's
own transaction and to the store before the first byte; slots are freed and the cache is filled after the last. Whatever goes wrong before
that gives back claim, slots, quota and credits; attempt limits stay charged.
"""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response

from app.core.db import SessionScope, find_result, keep_result
from app.core.errors import Unavailable
from app.core.http._answer import not_retained
from app.core.http._charge import ChargeName
from app.core.http._results import is_failure
from app.core.http._taken import Taken
from app.core.policies import Balance, IdempotencyKeyReused, debit_of, reset_charged, set_charged

Handler = Callable[[Request], Awaitable[Response]]


class Overtaken(Exception):
    """The result of this key is in the database already: what this request did is rolled back."""


class Claims(Taken):
    """One request's. ``has_started`` is set when the handler begins: until then nothing can have happened."""

    __slots__ = ()

    async def run(self, request: Request, handler: Handler, sessions: SessionScope) -> Response:
        """The handler, with everything that is owed when it returns or fails."""
        if self._computation is not None:
            sessions.read_fresh()  # Kept under the tags' versions of now, it must show what is committed by now.
        if self._is_durable:
            sessions.guard()
            known = await self._known(sessions)
            if known is not None:
                return known
        is_priced = self._keeper.config.credits is not None
        self._charge_name = ChargeName(sessions) if is_priced else None
        charged = set_charged(self if is_priced else None)
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
                f"This {claim.name} belongs to another request.", policy=self._keeper.policy
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
        named = self._charge_name.named if self._charge_name is not None else None
        if keeper.config.credits.settle == "batched" and named is None:
            self._owes_credits = True
            self.actual = charge
            return None
        # A job's charge is there with the job or not at all, whatever the settlement.
        key, session = named or (None, sessions.first())
        debit = debit_of(self.admission, self.caller, charge, self._incoming.request_id, key=key)
        return await keeper.ledger.debit(session, debit)

    def _charge(self, status: int) -> int:
        hold = self.admission.ask.price
        if hold is None or status >= 400:
            return 0
        if self.actual is None:
            return 0 if self._charge_name is not None and self._charge_name.is_free else hold.micro
        return self.actual

    async def _not_committed(self, error: BaseException, sessions: SessionScope) -> None:
        """Give everything back, unless the commit may have happened all the same: then database and leases decide."""
        is_owed = self._is_durable or self.admission.ask.price is not None
        if sessions.is_in_doubt or (isinstance(error, Unavailable) and is_owed):
            self.is_settled, self._owes_credits = True, False
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
