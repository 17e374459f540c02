"""ADMIT: one round trip that decides on everything one request asks for, its end, and what happens when the store does not answer."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Protocol

import structlog

from app.core.policies._admission import Admission
from app.core.policies._ask import NOTHING, Ask, Verdict
from app.core.policies._keys import Caller
from app.core.policies._local import LocalCounters
from app.core.policies._local_ask import LocalAsk
from app.core.policies._plan import Plan
from app.core.policies._providers import Balance
from app.core.policies._questions import answer_of, flatten
from app.core.policies._refusals import LimitUnavailable, credits_unavailable, idempotency_unavailable
from app.core.policies._settlement import (
    EXTEND,
    NOTHING_OWED,
    SETTLE,
    Call,
    Settled,
    abort_call,
    extend_call,
    receipt_key,
    settle_call,
    unknown_call,
)
from app.core.resilience import Clock
from app.core.valkey import Script, StoreDown, StoreError

ADMIT = Script.load("app.core.policies", "lua/admit.lua")
_PATIENCE_S = 0.25
_RECEIPT_MS = b"10000"  # longer than any retry of the same call could take
_NO_END_MS = 2**53
_LOST = Settled(is_lost=True)
_log = structlog.get_logger(__name__)


class Store(Protocol):
    """The part of the Valkey client that ADMIT needs."""

    def submit(self, script: Script, keys: Sequence[str], args: Sequence[bytes]) -> Awaitable[bytes]:
        """Run a script once, within the store's budget; it or the wait for it raises StoreError."""

    def run(
        self, script: Script, keys: Sequence[str], args: Sequence[bytes], *, timeout_s: float
    ) -> Awaitable[bytes]:
        """The same with a budget of its own, in seconds."""


class Admitter:
    """Decides on requests and, with the same engine, on anything else that has a plan and a caller.

    replicas: API processes in all; while the store is down each enforces that part of a limit. top_up_url: where a caller without credits
    is sent. on_settled: told the policy's name and the outcome of each settlement that anything hung on.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        replicas: int = 1,
        top_up_url: str | None = None,
        on_settled: Callable[[str, Settled], None] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._replicas = replicas
        self._top_up_url = top_up_url
        self._on_settled = on_settled
        self._local = LocalCounters()
        self._local_ask = LocalAsk(replicas)
        self._calls = count()
        self._boot = ""
        self._offset_ms = 0
        self._tasks: set[asyncio.Task[Settled]] = set()

    def server_time_ms(self) -> int:
        """The store's clock as far as it is known: ours, until ``learn_time`` or the first admission that asked for more than limits."""
        return int(self._clock.time() * 1000) + self._offset_ms

    async def learn_time(self) -> None:
        """Ask for the store's time. Raises StoreError."""
        rid = self._next_rid()
        reply = await self._store.run(ADMIT, [f"{{r:{rid}}}:v1:r:{rid}"], (b"1", b"0"), timeout_s=_PATIENCE_S)
        self._note_time(int(reply.split()[2]))

    async def admit(
        self,
        plan: Plan,
        caller: Caller,
        costs: tuple[int, ...] | None = None,
        ask: Ask = NOTHING,
        *,
        again: Admission | None = None,
    ) -> Admission:
        """Charge ``plan`` for ``caller`` and take what ``ask`` names: one round trip, within the store's budget. Where an outage would mean
        a refusal (a ``closed`` limit, a claim, credits) it waits up to 0.25 s.

        again: the admission of the same request that could not be the last word (COLD, CLOCK, WAIT, an entry that cannot be read): what
        its attempt limits took is not taken twice.

        Raises LimitUnavailable, IdempotencyUnavailable or CreditsUnavailable (503) when the store is down and the request cannot be let in
        without it; everything else then degrades as it says.
        """
        costs = plan.costs if costs is None else costs
        if again is not None:
            costs = again.unpaid(costs)
        keys = plan.keys(caller)
        if ask is not NOTHING and any(ask):
            return await self._admit_all(plan, keys, costs, ask)
        if not keys:
            return Admission(plan, True, 0, (), degraded=False)
        rid = self._next_rid()
        names = [receipt_key(keys[0], rid), *keys]
        values = (_RECEIPT_MS, plan.size, *plan.arguments(costs))
        try:
            reply = await self._ask_store(ADMIT, names, values, is_patient=plan.has_closed)
        except StoreError:
            return self._degraded(plan, keys, costs, ask, rid)
        verdict, cause, now_ms, *numbers = map(int, reply.split())
        return Admission(plan, not verdict, cause, numbers, False, rid, now_ms, keys, costs)

    async def _admit_all(self, plan: Plan, keys: list[str], costs: tuple[int, ...], ask: Ask) -> Admission:
        if ask.hold is not None and ask.hold.micro == 0:
            ask = ask._replace(hold=None)
        is_patient = plan.has_closed or _must_have_store(ask)
        while True:
            rid = self._next_rid()
            more_keys, more = flatten(ask, rid)
            names = [*keys, *more_keys]
            names.insert(0, receipt_key(names[0] if names else f"{{r:{rid}}}", rid))
            values = (_RECEIPT_MS, plan.size, *plan.arguments(costs), *more)
            try:
                reply = await self._ask_store(ADMIT, names, values, is_patient=is_patient)
            except StoreError:
                self._take_back(Admission(plan, True, 0, (), False, rid, keys=keys, ask=ask))
                return self._degraded(plan, keys, costs, ask, rid)
            if not reply.startswith(b"-1 "):
                return self._read(reply, Admission(plan, True, 0, (), False, rid, 0, keys, costs, ask))
            # What the lost first answer showed is gone by now: the request is a new one.

    def _read(self, reply: bytes, asked: Admission) -> Admission:
        head, _, rest = reply.partition(b"\n")
        verdict, cause, now_ms, *numbers = map(int, head.split())
        self._note_time(now_ms)
        at = 4 * len(asked.keys)
        answer = answer_of(verdict, numbers[at:], asked.ask, rest, self._top_up_url)
        if answer.quotas and verdict != Verdict.CLOCK:
            self._local_ask.remember(asked.ask.allowances, answer.quotas)
        return asked._replace(
            allowed=not verdict, cause=cause, numbers=numbers[:at], now_ms=now_ms, answer=answer
        )

    def _next_rid(self) -> str:
        # Never the caller's X-Request-ID: a receipt answers a repeated id without charging, so ids must be ours alone. Made with the
        # first call and not with the object: processes forked in between must not share it.
        self._boot = self._boot or os.urandom(8).hex()
        return f"{self._boot}{next(self._calls):x}"

    def _note_time(self, now_ms: int) -> None:
        self._offset_ms = now_ms - int(self._clock.time() * 1000)

    async def _ask_store(
        self, script: Script, keys: Sequence[str], args: Sequence[bytes], *, is_patient: bool
    ) -> bytes:
        try:
            return await self._send(script, keys, args, is_patient=is_patient)
        except StoreDown:
            # The connection broke under the call, which may have run: by its receipt the second try cannot charge twice.
            return await self._send(script, keys, args, is_patient=is_patient)

    def _send(
        self, script: Script, keys: Sequence[str], args: Sequence[bytes], *, is_patient: bool
    ) -> Awaitable[bytes]:
        if is_patient:
            return self._store.run(script, keys, args, timeout_s=_PATIENCE_S)
        return self._store.submit(script, keys, args)

    # -- the end of a request -------------------------------------------------------------------------------------------------

    async def settle(
        self, admission: Admission, result: bytes | None = None, balance: Balance | None = None
    ) -> Settled:
        """Keep ``result`` under the claim (None: the claim is given up), free slots and hold, and take over a newer ``balance``. May be
        repeated. Never raises for the store: then leases and the sweeper end what was taken.
        """
        self._local_ask.free(admission.taken)
        return await self._end(
            admission, None if admission.degraded else settle_call(admission, result, balance)
        )

    def settle_soon(
        self, admission: Admission, result: bytes | None = None, balance: Balance | None = None
    ) -> None:
        """The same without waiting for it."""
        self._local_ask.free(admission.taken)
        self._end_soon(admission, None if admission.degraded else settle_call(admission, result, balance))

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

    def _aborted(
        self, admission: Admission, balance: Balance | None, *, keep_claim: bool, keep_hold: bool
    ) -> Call | None:
        if not admission.degraded:
            return abort_call(admission, balance, keep_claim=keep_claim, keep_hold=keep_hold)
        self._local_ask.free(admission.taken)
        if admission.allowed and admission.answer is not None:
            self._local_ask.give_back(admission.ask, admission.answer)
        return None

    async def extend(self, admission: Admission, lease_ms: int, *, until_ms: int = _NO_END_MS) -> bool:
        """Renew claim, slots, hold and lease for ``lease_ms`` from now, at most until ``until_ms`` of the store's clock. False when one of
        them was lost. Raises StoreError.
        """
        call = None if admission.degraded else extend_call(admission, lease_ms, until_ms)
        if call is None:
            return True
        reply = await self._ask_store(EXTEND, call.keys, call.arguments, is_patient=True)
        return int(reply) == 1

    async def close(self) -> None:
        """Wait for settlements that are under way."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _end(self, admission: Admission, call: Call | None) -> Settled:
        if call is None:
            return NOTHING_OWED
        try:
            reply = await self._ask_store(SETTLE, call.keys, call.arguments, is_patient=True)
        except StoreError as error:
            _log.warning("settlement.lost", policy=admission.plan.policy, reason=error.reason)
            return self._told(admission, _LOST)
        fenced, late = reply.split()
        return self._told(admission, Settled(fenced == b"1", late == b"1"))

    def _told(self, admission: Admission, settled: Settled) -> Settled:
        if self._on_settled is not None:
            self._on_settled(admission.plan.policy, settled)
        return settled

    def _end_soon(self, admission: Admission, call: Call | None) -> None:
        if call is None:
            return
        task = asyncio.get_running_loop().create_task(self._end(admission, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take_back(self, admission: Admission) -> None:
        """The answer to an ADMIT never came: it may have run, or run later. Ids are ours alone, so this can take back nothing else."""
        ask = admission.ask
        if ask.claim is not None or ask.slots or ask.hold is not None or ask.lookup is not None:
            self._end_soon(admission, unknown_call(admission))

    # -- without the store ----------------------------------------------------------------------------------------------------

    def _degraded(self, plan: Plan, keys: list[str], costs: tuple[int, ...], ask: Ask, rid: str) -> Admission:
        if ask.claim is not None:
            raise idempotency_unavailable(plan.policy)
        if ask.hold is not None and not ask.hold.shadow:
            raise credits_unavailable(plan.policy)
        answer = self._local_ask.decide(ask) if ask is not NOTHING else None
        agree = answer is None or answer.verdict is Verdict.ADMITTED
        counters = plan.shared_by(self._replicas)
        now = int(self._clock.time() * 1_000_000)
        verdict, cause, now_ms, *numbers = self._local.admit(keys, counters, costs, now, others_agree=agree)
        if verdict and plan.limits[cause - 1].on_store_down == "open":
            verdict, cause = self._without_open(plan, numbers)
        if not verdict and (plan.has_closed or any(a.on_store_down == "closed" for a in ask.allowances)):
            raise LimitUnavailable(plan.policy)
        taken: tuple[str, ...] = ()
        if answer is not None:
            if verdict:
                answer = answer._replace(verdict=Verdict.LIMITED)
            elif agree:
                taken = self._local_ask.take(ask, answer)
            verdict = answer.verdict
        return Admission(
            plan, not verdict, cause, numbers, True, rid, now_ms, keys, costs, ask, answer, taken=taken
        )

    @staticmethod
    def _without_open(plan: Plan, numbers: Sequence[int]) -> tuple[int, int]:
        for i, limit in enumerate(plan.limits):
            if not numbers[4 * i] and not limit.shadow and limit.on_store_down != "open":
                return 1, i + 1
        return 0, 0


def _must_have_store(ask: Ask) -> bool:
    return (
        ask.claim is not None
        or (ask.hold is not None and not ask.hold.shadow)
        or any(allowance.on_store_down == "closed" for allowance in ask.allowances)
    )
