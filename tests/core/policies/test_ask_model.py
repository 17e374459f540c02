"""ADMIT, SETTLE and ABORT against a model: any sequence of requests, ends, crashes and time gives the same answers in both."""

import asyncio
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.context import Principal
from app.core.policies import (
    Admission,
    Admitter,
    Ask,
    Balance,
    Caller,
    Epoch,
    EpochBook,
    Epochs,
    Plan,
    RateLimit,
    Verdict,
)
from app.core.policies._epochs import epoch_key
from app.core.resilience import SystemClock
from app.core.valkey import Put, ValkeyClient
from tests.core.policies.ask_model import (
    ALLOWANCE,
    LEASE,
    MOST_ADMITTED,
    MOST_ATTEMPTS,
    SLOT_LEASE,
    Model,
    Said,
    Wish,
)
from tests.core.policies.asking import (
    ACCOUNT,
    ALICE,
    CREDIT,
    FAR,
    TimedStore,
    claim,
    fund,
    hold,
    lives,
    lookup,
    quota,
    slot,
)

PLAN = Plan(
    "orders",
    [
        RateLimit.fixed_window("attempts", limit=MOST_ATTEMPTS, window=FAR),
        RateLimit.fixed_window("admitted", limit=MOST_ADMITTED, window=FAR, charge="admit"),
    ],
)
GRACE_S = 60.0
END_MS = 2_000_000_000_000
WISHES = st.builds(
    Wish,
    key=st.sampled_from(["", "a"]),
    fingerprint=st.sampled_from("ffffg"),
    rerun=st.sampled_from([True, True, False]),
    replay_cost=st.integers(0, 1),
    looks=st.sampled_from([False, False, True]),
    must_compute=st.sampled_from([False, False, True]),
    hit_cost=st.integers(0, 1),
    is_open=st.sampled_from([False] * 9 + [True]),
    quota_cost=st.sampled_from([0, 0, 0, 1, 3]),
    slots=st.sampled_from([0, 0, 0, 1, 3]),
    amount=st.sampled_from([0, 0, 1, 3]),
    shadow=st.sampled_from([False] * 4 + [True]),
    issued_ms=st.sampled_from([0, 0, 1000, 3000, 8000]),
    session=st.sampled_from(["one", "one", "two"]),
)


@dataclass(frozen=True)
class Step:
    """``wish`` is a request's, ``which`` and ``number`` are everything else's; ``which`` picks one of the requests that were admitted."""

    act: str
    wish: Wish | None
    which: int
    number: int


ACTS = st.sampled_from(
    ["admit"] * 9
    + ["settle", "settle", "abort", "abort_again", "keep", "wait", "wait", "store", "fund", "flush"]
    + ["end_tokens", "end_session", "forget_ends"]
)
NUMBERS = st.sampled_from([1, 3000, SLOT_LEASE, LEASE, 2 * LEASE])  # leases end exactly, too
WHICH = st.integers(0, 20)


@st.composite
def one_step(draw: st.DrawFn) -> Step:
    """Only what this act looks at: to draw the fifteen fields of a wish takes longer than to act."""
    act = draw(ACTS)
    if act == "admit":
        return Step(act, draw(WISHES), 0, 0)
    return Step(act, None, draw(WHICH), draw(NUMBERS))


STEPS = st.lists(one_step(), min_size=15, max_size=60)


class Truth:
    """The database's word on which tokens have ended: the model's."""

    def __init__(self, model: Model) -> None:
        self.model = model

    async def epoch_of(self, _: str) -> Epoch:
        return Epoch(self.model.tokens_since, tuple(self.model.ended))


class Both:
    """The scripts and the model, side by side."""

    def __init__(self, store: ValkeyClient) -> None:
        self.store = store
        self.time = TimedStore(store)
        self.admitter = Admitter(self.time, clock=SystemClock())
        self.model = Model()
        epochs = Epochs(self.time, Truth(self.model), clock=SystemClock(), grace_s=GRACE_S)
        self.admitter.prove_tokens(epochs)
        self.book = EpochBook(store, grace_s=GRACE_S)
        self.open: list[tuple[int, Wish, Said, Admission]] = []
        self.aborted: set[int] = set()
        self.count = 0

    async def do(self, step: Step) -> None:
        if step.wish is not None:
            await self.admit(step.wish)
        elif step.act in ("settle", "abort", "abort_again", "keep"):
            if self.open:
                await self.end(step, self.open[step.which % len(self.open)])
        elif step.act == "wait":
            self.model.now += step.number
            await self.time.at(self.model.now / 1000)
        elif step.act == "store":
            await self.put(step.number)
        elif step.act == "fund":
            await self.fund(step.which)
        elif step.act == "end_tokens":
            self.model.tokens_since = max(self.model.tokens_since, step.number)
            await self.book.end_all("alice", step.number)
        elif step.act == "end_session":
            # Of the second one only, so that most requests get further.
            self.model.ended.add("two")
            await self.book.end_sessions("alice", ["two"])
        elif step.act == "forget_ends":
            await self.store.execute("DEL", epoch_key("alice"))
        else:
            await self.store.execute("DEL", ACCOUNT)
            self.model.balance, self.model.holds = None, {}
        await self.compare()

    async def admit(self, wish: Wish) -> None:
        self.count += 1
        rid, said = self.count, self.model.admit(self.count, wish)
        admission = await self.admitter.admit(PLAN, caller_of(wish), None, ask_of(wish))
        answered = Said(
            admission.verdict, admission.generation, admission.is_leader, admission.tail, admission.shadowed
        )
        expected = Said(said.verdict, said.generation, said.is_leader, said.tail, said.shadowed)
        if said.verdict is not Verdict.ADMITTED:
            answered.shadowed = ()
        if said.verdict is Verdict.REPLAY:
            answered.generation = 0
        assert answered == expected
        if admission.allowed:
            self.open.append((rid, wish, said, admission))

    async def end(self, step: Step, one: tuple[int, Wish, Said, Admission]) -> None:
        rid, wish, said, admission = one
        if step.act == "settle":
            if rid in self.aborted:
                return
            result = b"%d" % step.number if step.number % 3 else None
            balance = step.which if said.took_hold and self.model.balance is not None else None
            version = self.model.version + 1
            kept = self.entry(step.number) if step.which % 2 else None
            is_fenced = self.model.end(rid, wish, said, result=result, balance=balance, kept=kept)
            newer = Balance(balance * CREDIT, version) if balance is not None else None
            times = (b"%d" % step.number, b"%d" % step.number, b"1", b"-", b"body%d" % step.number)
            settled = await self.admitter.settle(
                admission, result, newer, Put(lookup().key, times) if kept else None
            )
            assert settled.is_fenced == is_fenced
            return
        keep = step.act == "keep"
        for _ in range(2 if step.act == "abort_again" else 1):
            self.model.abort(rid, wish, said, keep_claim=keep, is_repeated=rid in self.aborted)
            await self.admitter.abort(admission, keep_claim=keep)
            self.aborted.add(rid)

    def entry(self, number: int) -> tuple[int, int, bytes]:
        """An entry that is fresh for ``number`` ms and then stale for as long."""
        model, now = self.model, self.time.now_ms
        stored = f"{now} {now + number} {now + 2 * number} 1 -\nbody{number}".encode()
        return model.now + number, model.now + 2 * number, stored

    async def put(self, number: int) -> None:
        entry = self.entry(number)
        self.model.entry, self.model.leader = entry, None
        await self.store.execute("SET", lookup().key, entry[2], "PX", 600_000)
        await self.store.execute("DEL", f"{lookup().key}:l")

    async def fund(self, amount: int) -> None:
        self.model.version += 1
        self.model.balance = amount
        if self.model.holds:
            await self.store.execute("HSET", ACCOUNT, "b", amount * CREDIT, "v", self.model.version)
        else:
            await fund(self.store, amount, self.model.version)

    async def compare(self) -> None:
        model = self.model
        counts, spent, members, held, left = await asyncio.gather(
            self.store.execute("MGET", *PLAN.keys(ALICE)),
            self.store.execute("GET", quota(end_ms=END_MS).key),
            self.store.execute("ZCOUNT", slot().key, f"({self.time.now_ms}", "+inf"),
            self.store.execute("HGET", ACCOUNT, "h"),
            lives(self.store),
        )
        assert [int(count.split()[1]) if count else 0 for count in counts] == [model.attempts, model.admitted]
        assert int(spent or 0) == model.used
        assert members == sum(end > model.now for end in model.slots.values())
        assert int(held or 0) == model.held * CREDIT
        assert all(life > 0 for life in left.values())


def caller_of(wish: Wish) -> Caller:
    if not wish.issued_ms:
        return ALICE
    return Caller(Principal("alice", session_id=wish.session, issued_at=wish.issued_ms / 1000), "192.0.2.1")


def ask_of(wish: Wish) -> Ask:
    return Ask(
        claim(wish.key, wish.fingerprint, rerun=wish.rerun, replay_cost=wish.replay_cost, lease_ms=LEASE)
        if wish.key
        else None,
        lookup(must_compute=wish.must_compute, hit_cost=wish.hit_cost, lease_ms=600_000)
        if wish.looks
        else None,
        wish.is_open,
        (quota(ALLOWANCE, end_ms=END_MS, cost=wish.quota_cost, shadow=wish.shadow),)
        if wish.quota_cost
        else (),
        (slot(wish.slots, SLOT_LEASE, shadow=wish.shadow),) if wish.slots else (),
        hold(wish.amount, shadow=wish.shadow) if wish.amount else None,
    )


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
async def test_scripts_and_model_give_the_same_answers_and_leave_the_same_behind(
    store: ValkeyClient, steps: list[Step]
) -> None:
    await store.execute("FLUSHDB")
    both = Both(store)
    await both.time.at(0)
    await both.fund(10)
    for step in steps:
        await both.do(step)
