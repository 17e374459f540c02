"""ADMIT: one round trip that decides on everything one request asks for, and what happens when the store does not answer."""

import asyncio
import os
from collections.abc import Callable, Sequence
from itertools import count

from app.core.policies._admission import Admission
from app.core.policies._ask import NOTHING, Ask, Verdict
from app.core.policies._asked import call_of, is_of_slots, must_have_store, question_of, trimmed, without_open
from app.core.policies._cluster_parts import merge, share_a_slot, split
from app.core.policies._epochs import Epochs, RevocationUnknown
from app.core.policies._keys import Caller
from app.core.policies._known_question import KnownQuestion, known_question
from app.core.policies._local import LocalCounters
from app.core.policies._plan import Plan
from app.core.policies._questions import Answer, answer_of
from app.core.policies._refusals import LimitUnavailable, credits_unavailable, idempotency_unavailable
from app.core.policies._settlement import RECEIPT_MS, Settled, receipt_key
from app.core.policies._settler import Settler
from app.core.policies._store_calls import Store, call, call_packed, integers
from app.core.resilience import Clock
from app.core.valkey import (
    TAG_LIFE_MS,
    TAG_SCRIPT,
    Script,
    StoreError,
    StoreReplyError,
    ValkeyClient,
)

ADMIT = Script.load("app.core.policies", "lua/admit.lua")
_LOADS = 3
_TAG_LIFE_MS = b"%d" % TAG_LIFE_MS


class Admitter(Settler):
    """Decides on requests and, with the same engine, on anything else that has a plan and a caller.

    replicas: API processes in all; while the store is down each enforces that part of a limit. clustered: the store is a Cluster, where one
    script can only use the keys of one slot. top_up_url: where a caller without credits is sent. on_settled: told the policy's name and
    the outcome of each settlement that anything hung on. on_takeover: told the name of the policy whose expired claim was taken over.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        replicas: int = 1,
        clustered: bool = False,
        top_up_url: str | None = None,
        on_settled: Callable[[str, Settled], None] | None = None,
        on_takeover: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(store, replicas=replicas, clustered=clustered, on_settled=on_settled)
        self._clock = clock
        self._replicas = replicas
        self._top_up_url = top_up_url
        self._on_takeover = on_takeover
        self._epochs: Epochs | None = None
        self._local = LocalCounters()
        self._calls = count()
        self._boot = ""
        self._offset_ms = 0

    def prove_tokens(self, epochs: Epochs) -> None:
        """Ask for each caller's token too, from now on, whether it was revoked."""
        self._epochs = epochs

    async def close(self) -> None:
        """Wait for what was begun and that nobody waits for: settlements, and epochs whose askers have gone."""
        await super().close()
        if self._epochs is not None:
            await self._epochs.close()

    @property
    def proves_tokens(self) -> bool:
        """Whether a caller with a token has to be asked for, even where nothing is counted."""
        return self._epochs is not None

    def server_time_ms(self) -> int:
        """The store's clock as far as it is known: ours, until ``learn_time`` or the first admission that asked for more than limits."""
        return int(self._clock.time() * 1000) + self._offset_ms

    async def learn_time(self) -> None:
        """Ask for the store's time. Raises StoreError."""
        rid = self._next_rid()
        reply = await call(self._store, ADMIT, [f"{{r:{rid}}}:v1:r:{rid}"], (b"1", b"0"), is_patient=True)
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
        a refusal (a ``closed`` limit, a claim, credits) it waits up to 0.25 s. On a Cluster it is one round trip for all slots at once, one
        more before it for a looked up answer with tags, and one more after it when slots disagree.

        again: the admission of the same request that could not be the last word (COLD, CLOCK, WAIT, an entry that cannot be read): what
        its attempt limits took is not taken twice.

        Raises LimitUnavailable, IdempotencyUnavailable or CreditsUnavailable (503) when the store is down and the request cannot be let in
        without it; everything else then degrades as it says.
        """
        costs = plan.costs if costs is None else costs
        if again is not None:
            costs = again.unpaid(costs)
        keys = plan.keys(caller)
        if ask is not NOTHING:
            ask = trimmed(ask)
        if self._epochs is not None and (token := self._epochs.token_of(caller)) is not None:
            ask = ask._replace(token=token)
        if ask is NOTHING and not keys:
            return Admission(plan, True, 0, (), degraded=False)
        if ask is not NOTHING or (self._clustered and not share_a_slot(keys)):
            # A glance whose answer was lost may have run, or run late: under its id neither of the two charges again. On a Cluster
            # the two are not asked in the same parts, and a receipt answers only for its own.
            lost = again.rid if again is not None and again.is_lost_glance and not self._clustered else ""
            return await self._admit_all(plan, keys, costs, ask, lost)
        rid = self._next_rid()
        names = [receipt_key(keys[0], rid), *keys]
        values = (RECEIPT_MS, plan.size, *plan.arguments(costs))
        try:
            reply = await call(self._store, ADMIT, names, values, is_patient=plan.has_closed)
            verdict, cause, now_ms, *numbers = integers(reply)
        except StoreError as error:
            if is_of_slots(error) and not share_a_slot(keys):
                self.use_slots()
                return await self._admit_all(plan, keys, costs, ask)
            return self._degraded(Admission(plan, True, 0, (), True, rid, 0, keys, costs))
        return Admission(plan, not verdict, cause, numbers, False, rid, now_ms, keys, costs)

    def known(self, asked: Admission, caller: Caller, *, is_open: bool = False) -> KnownQuestion | None:
        """What was just asked, to be asked again for the same caller. None where it has to be put together anew each time.

        is_open: also about other answers and under other charges' names (``KnownQuestion.about``), and with patience.
        """
        if asked.ask.token != (self._epochs.token_of(caller) if self._epochs is not None else None):
            return None  # his account could not be looked up this time: it is no question to go on with
        if self._clustered or not isinstance(self._store, ValkeyClient):
            return None
        question = known_question(asked, ADMIT, is_open=is_open)
        return None if question.is_patient and not is_open else question

    async def admit_known(self, question: KnownQuestion) -> Admission:
        """``admit`` for what was asked before."""
        plan, keys, costs, ask, *_ = question
        return await self._admit_all(plan, keys, costs, ask, known=question)

    async def _admit_all(
        self,
        plan: Plan,
        keys: Sequence[str],
        costs: tuple[int, ...],
        ask: Ask,
        rid: str = "",
        *,
        known: KnownQuestion | None = None,
    ) -> Admission:
        loads = 0
        while True:
            asked = Admission(plan, True, 0, (), False, rid or self._next_rid(), 0, keys, costs, ask)
            rid = ""
            in_parts = self._clustered
            try:
                answer = await (self._in_parts(asked) if in_parts else self._in_one(asked, known=known))
                if answer is not None and answer.verdict is Verdict.UNPROVEN:
                    costs, ask, known = answer.unpaid(costs), await self._proven(plan, ask, loads), None
                    loads += 1
                    continue
            except StoreError as error:
                if is_of_slots(error) and not in_parts:
                    self.use_slots()
                    continue
                if ask.lookup is not None and ask.lookup.is_glance:
                    return asked._replace(allowed=False, degraded=True, answer=Answer(Verdict.CLOCK))
                # What one script call refused it has not begun to write.
                if in_parts or not isinstance(error, StoreReplyError):
                    self._take_back(asked)
                return self._degraded(asked)
            except asyncio.CancelledError:  # nobody is left to end what it takes
                self._take_back(asked)
                raise
            if answer is not None:
                self._learn(answer)
                return answer

    def _learn(self, said: Admission) -> None:
        """What an answer tells about more than its request."""
        self._note_time(said.now_ms)
        if self._epochs is not None:
            self._epochs.store_answered()
        if said.answer is not None and said.answer.quotas and said.verdict is not Verdict.CLOCK:
            self._local_ask.remember(said.ask.allowances, said.answer.quotas)
        if said.ask.claim is not None and said.allowed and said.generation > 1 and self._on_takeover:
            self._on_takeover(said.plan.policy)

    async def _proven(self, plan: Plan, ask: Ask, loads: int) -> Ask:
        """The question once more, after the account's epoch has been loaded; without the token where it cannot be."""
        assert self._epochs is not None and ask.token is not None  # noqa: S101, PT018 - it was asked for
        if loads >= _LOADS:  # the store forgets it at once
            raise RevocationUnknown(plan.policy)
        is_known = await self._epochs.load(ask.token.account, plan.policy)
        return ask if is_known else ask._replace(token=None)

    async def _in_one(
        self, asked: Admission, versions: bytes = b"", *, known: KnownQuestion | None = None
    ) -> Admission | None:
        """One script call. None: what a lost first answer showed is gone by now, the request is a new one."""
        plan, keys, costs, ask, rid = asked.plan, asked.keys, asked.costs, asked.ask, asked.rid
        store = self._store
        if known is not None and isinstance(store, ValkeyClient):
            packed = known.call.packed(rid, known.entry, known.charge)
            reply = await call_packed(store, ADMIT, packed, is_patient=known.is_patient)
        else:
            names, values = call_of(asked, versions)
            is_patient = plan.has_closed or must_have_store(ask)
            reply = await call(store, ADMIT, names, values, is_patient=is_patient)
        if reply.startswith(b"-1 "):
            return None
        head, _, rest = reply.partition(b"\n")
        verdict, cause, now_ms, *numbers = integers(head)
        at = 4 * len(keys)
        answer = answer_of(verdict, numbers[at:], ask, rest, self._top_up_url) if ask is not NOTHING else None
        return Admission(plan, not verdict, cause, numbers[:at], False, rid, now_ms, keys, costs, ask, answer)

    async def _in_parts(self, asked: Admission) -> Admission | None:
        """A script call per slot, all at once. If they do not all agree, what any of them took is given back."""
        versions = await self._versions(asked.ask)
        parts = split(asked.keys, asked.ask)
        answers = await asyncio.gather(
            *(self._in_one(question_of(asked, part), versions) for part in parts), return_exceptions=True
        )
        known = [answer for answer in answers if isinstance(answer, Admission)]
        whole = merge(asked, parts, known) if len(known) == len(parts) else None
        if whole is None or not whole.allowed:
            await asyncio.gather(*(self.abort(answer) for answer in known))
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return whole

    async def _versions(self, ask: Ask) -> bytes:
        if ask.lookup is None or not ask.lookup.tag_keys:
            return b""
        reads = (
            call(self._store, TAG_SCRIPT, [key], (_TAG_LIFE_MS,), is_patient=must_have_store(ask))
            for key in ask.lookup.tag_keys
        )
        return b",".join(await asyncio.gather(*reads))

    def _next_rid(self) -> str:
        # Never the caller's X-Request-ID: a receipt answers a repeated id without charging, so ids must be ours alone. Made with the
        # first call and not with the object: processes forked in between must not share it.
        self._boot = self._boot or os.urandom(8).hex()
        return f"{self._boot}{next(self._calls):x}"

    def _note_time(self, now_ms: int) -> None:
        self._offset_ms = now_ms - int(self._clock.time() * 1000)

    # -- without the store ----------------------------------------------------------------------------------------------------

    def _degraded(self, asked: Admission) -> Admission:
        plan, ask = asked.plan, asked.ask
        if ask.token is not None and self._epochs is not None:
            self._epochs.bear_without_store(plan.policy)
            ask = trimmed(ask._replace(token=None))
            asked = asked._replace(ask=ask)
        if ask.claim is not None:
            raise idempotency_unavailable(plan.policy)
        if ask.price is not None:
            raise credits_unavailable(plan.policy)
        answer = self._local_ask.decide(ask) if ask is not NOTHING else None
        agree = answer is None or answer.verdict is Verdict.ADMITTED
        counters = plan.shared_by(self._replicas)
        now = int(self._clock.time() * 1_000_000)
        verdict, cause, now_ms, *numbers = self._local.admit(
            asked.keys, counters, asked.costs, now, others_agree=agree
        )
        if verdict and plan.limits[cause - 1].on_store_down == "open":
            verdict, cause = without_open(plan, numbers)
        if not verdict and (plan.has_closed or any(a.on_store_down == "closed" for a in ask.allowances)):
            raise LimitUnavailable(plan.policy)
        taken: tuple[str, ...] = ()
        if answer is not None:
            if verdict:
                answer = answer._replace(verdict=Verdict.LIMITED)
            elif agree:
                taken = self._local_ask.take(asked.rid, ask, answer)
            verdict = answer.verdict
        return asked._replace(
            allowed=not verdict, cause=cause, numbers=numbers, degraded=True, now_ms=now_ms, answer=answer,
            taken=taken,
        )  # fmt: skip
