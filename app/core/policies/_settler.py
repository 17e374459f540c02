"""The end of a request: what its admission took is kept, given back or renewed."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import structlog

from app.core.policies._admission import Admission
from app.core.policies._local_ask import LocalAsk
from app.core.policies._providers import Balance
from app.core.policies._settlement import (
    NOTHING_OWED,
    SETTLE_AND_KEEP,
    Call,
    Settled,
    abort_call,
    extend_call,
    price_call,
    settle_call,
    unknown_call,
)
from app.core.policies._store_calls import Store, call
from app.core.valkey import Put, StoreError

_NO_END_MS = 2**53
_LOST = Settled(is_lost=True)
_FINE = b"0 0"
_log = structlog.get_logger(__name__)


class Settler:
    """Ends and renews what the admitter that it is a part of began. ``replicas`` and ``on_settled`` as there."""

    def __init__(
        self,
        store: Store,
        *,
        replicas: int = 1,
        clustered: bool = False,
        on_settled: Callable[[str, Settled], None] | None = None,
    ) -> None:
        self._store = store
        self._clustered = clustered
        self._on_settled = on_settled
        self._local_ask = LocalAsk(replicas)
        self._tasks: set[asyncio.Future[Any]] = set()

    def use_slots(self) -> None:
        """The store is a Cluster: from now on a script is sent keys of one slot only."""
        self._clustered = True

    @property
    def is_clustered(self) -> bool:
        """Whether each slot gets a script call of its own."""
        return self._clustered

    async def settle(
        self,
        admission: Admission,
        result: bytes | None = None,
        balance: Balance | None = None,
        entry: Put | None = None,
        *,
        keep_hold: bool = False,
    ) -> Settled:
        """Keep ``result`` under the claim (None: the claim is given up), free slots and hold, take over a newer ``balance``, and store the
        ``entry`` that was computed. keep_hold: its debit is still to come. May be repeated. Never raises for the store: then leases and
        the sweeper end what was taken.
        """
        return await self._end(
            admission, self._settlement(admission, result, balance, entry, keep_hold=keep_hold)
        )

    def settle_soon(
        self,
        admission: Admission,
        result: bytes | None = None,
        balance: Balance | None = None,
        entry: Put | None = None,
        *,
        keep_hold: bool = False,
    ) -> None:
        """The same without waiting for it."""
        self._end_soon(admission, self._settlement(admission, result, balance, entry, keep_hold=keep_hold))

    async def abort(
        self,
        admission: Admission,
        *,
        keep_claim: bool = False,
        keep_hold: bool = False,
        balance: Balance | None = None,
    ) -> Settled:
        """Give back all but what attempt limits took. keep_claim: the effect is unknown, the claim stays until its lease ends; keep_hold:
        so is the debit, the sweeper decides. May be repeated; never raises for the store.
        """
        return await self._end(
            admission, self._aborted(admission, balance, keep_claim=keep_claim, keep_hold=keep_hold)
        )

    def abort_soon(self, admission: Admission, *, keep_claim: bool = False, keep_hold: bool = False) -> None:
        """The same without waiting for it."""
        self._end_soon(admission, self._aborted(admission, None, keep_claim=keep_claim, keep_hold=keep_hold))

    def give_back_price_soon(self, admission: Admission) -> None:
        """Give back hold, quotas and ``admit`` limits, without waiting; settle the rest ``without_price``. Slots and leases stay."""
        if not admission.degraded:
            self._start(self._undo(price_call(admission)))

    async def extend(self, admission: Admission, lease_ms: int, *, until_ms: int = _NO_END_MS) -> bool:
        """Renew claim, slots, hold and lease for ``lease_ms`` from now, at most until ``until_ms`` of the store's clock. False when one of
        them was lost. Raises StoreError.
        """
        extension = None if admission.degraded else extend_call(admission, lease_ms, until_ms)
        if extension is None:
            return True
        return all(int(reply) == 1 for reply in await self._send(extension))

    async def close(self) -> None:
        """Wait for what ``settle_soon`` and ``abort_soon`` began."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _settlement(
        self,
        admission: Admission,
        result: bytes | None,
        balance: Balance | None,
        entry: Put | None,
        *,
        keep_hold: bool,
    ) -> Call | None:
        if not admission.degraded:
            return settle_call(admission, result, balance, entry, keep_hold=keep_hold)
        self._local_ask.free(admission.rid, admission.taken)
        return None

    def _aborted(
        self, admission: Admission, balance: Balance | None, *, keep_claim: bool, keep_hold: bool
    ) -> Call | None:
        if not admission.degraded:
            return abort_call(admission, balance, keep_claim=keep_claim, keep_hold=keep_hold)
        if self._local_ask.free(admission.rid, admission.taken) and admission.answer is not None:
            self._local_ask.give_back(admission.ask, admission.answer)
        return None

    def _take_back(self, admission: Admission) -> None:
        """The answer to an ADMIT never came: it may have run, or run later. Ids are ours alone, so this can take back nothing else."""
        ask = admission.ask
        if ask.claim is not None or ask.slots or ask.price is not None or ask.lookup is not None:
            # Nothing hangs on it, and in an outage there is one of these per request: nobody is told.
            self._start(self._undo(unknown_call(admission)))

    async def _undo(self, what: Call | None) -> None:
        if what is not None:
            with suppress(StoreError):
                await self._send(what)

    async def _send(self, what: Call) -> list[bytes]:
        requests, store, script = what.requests(clustered=self._clustered), self._store, what.script
        if len(requests) == 1:
            return [await call(store, script, *requests[0], is_patient=True)]
        return await asyncio.gather(*(call(store, script, *each, is_patient=True) for each in requests))

    async def _end(self, admission: Admission, what: Call | None, *, is_again: bool = False) -> Settled:
        if what is None:
            return NOTHING_OWED
        try:
            replies = await self._send_or_lighten(what)
        except StoreError as error:
            _log.warning("settlement.lost", policy=admission.plan.policy, reason=error.reason)
            return self._told(admission, _LOST)
        settled = _settled(replies)
        # What is gone by now was perhaps freed by the first try.
        return self._told(admission, settled._replace(is_late=False) if is_again else settled)

    async def _send_or_lighten(self, what: Call) -> list[bytes]:
        try:
            return await self._send(what)
        except StoreError:
            if what.script is not SETTLE_AND_KEEP:
                raise
            # Nobody misses an entry that is not kept, and perhaps it was that which there was no room for.
            return await self._send(what.without_entry())

    def _told(self, admission: Admission, settled: Settled) -> Settled:
        if self._on_settled is not None:
            self._on_settled(admission.plan.policy, settled)
        return settled

    def _end_soon(self, admission: Admission, what: Call | None) -> None:
        """Without a task for as long as all is well: this is done after every request that took something."""
        if what is None:
            return
        requests = what.requests(clustered=self._clustered)
        if len(requests) > 1:
            self._start(self._end(admission, what))
            return
        try:
            sent = self._store.submit(what.script, *requests[0])
        except StoreError:
            self._start(self._end(admission, what))
            return
        reply = sent if isinstance(sent, asyncio.Future) else asyncio.ensure_future(sent)
        self._tasks.add(reply)
        reply.add_done_callback(partial(self._ended, admission, what))

    def _ended(self, admission: Admission, what: Call, reply: asyncio.Future[bytes]) -> None:
        self._tasks.discard(reply)
        if reply.cancelled() or reply.exception() is not None:
            # In a task, which waits longer; what the first try did is not done twice.
            self._start(self._end(admission, what, is_again=True))
        else:
            answer = reply.result()
            self._told(admission, NOTHING_OWED if answer == _FINE else _settled((answer,)))

    def _start(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _settled(replies: Sequence[bytes]) -> Settled:
    if all(reply == _FINE for reply in replies):
        return NOTHING_OWED
    return Settled(
        any(reply.startswith(b"1") for reply in replies), any(reply.endswith(b"1") for reply in replies)
    )
