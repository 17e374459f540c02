"""Tokens that were revoked, as ADMIT sees them: on a real store, with the database's word made up."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from app.core.context import Principal
from app.core.errors import Unavailable
from app.core.policies import (
    Admission,
    Admitter,
    Ask,
    Caller,
    Epoch,
    EpochBook,
    Epochs,
    Plan,
    RateLimit,
    RevocationUnknown,
    Verdict,
)
from app.core.resilience import ManualClock
from app.core.security import InvalidToken
from app.core.valkey import StoreDown, ValkeyClient
from tests.core.policies.asking import FAR, HOUR_MS, P, TimedStore, claim, lives, lookup, quota

pytestmark = pytest.mark.usefixtures("clean_store")
ISSUED_MS = 1_800_000_000_000
GRACE_S = 60.0
EPOCH = f"{P}:v1:n"
ATTEMPTS = RateLimit.fixed_window("attempts", limit=100, window=FAR)
ADMITTED = RateLimit.fixed_window("admitted", limit=100, window=FAR, charge="admit")
PLAN = Plan("orders", [ATTEMPTS, ADMITTED])
NO_LIMITS = Plan("orders", [])
NOTHING = Ask()


def alice(session: str | None = "one", issued_ms: int = ISSUED_MS) -> Caller:
    return Caller(Principal("alice", session_id=session, issued_at=issued_ms / 1000), "192.0.2.1")


class Source:
    """What the database knows, and how often it was asked."""

    def __init__(self) -> None:
        self.epoch = Epoch()
        self.asked: list[str] = []
        self.is_down = False

    async def epoch_of(self, account: str) -> Epoch:
        self.asked.append(account)
        await asyncio.sleep(0)
        if self.is_down:
            raise Unavailable("The database is down.")
        return self.epoch


class Door:
    """An admitter that proves tokens, and all around it."""

    def __init__(self, store: ValkeyClient) -> None:
        self.time = TimedStore(store)
        self.clock = ManualClock(100.0)
        self.source = Source()
        self.admitter = Admitter(self.time, clock=self.clock)
        self.admitter.prove_tokens(Epochs(self.time, self.source, clock=self.clock, grace_s=GRACE_S))
        self.book = EpochBook(store, grace_s=GRACE_S)

    async def verdict(self, caller: Caller, ask: Ask = NOTHING, plan: Plan = PLAN) -> Verdict:
        return (await self.admit(caller, ask, plan)).verdict

    async def admit(self, caller: Caller, ask: Ask = NOTHING, plan: Plan = PLAN) -> Admission:
        return await self.admitter.admit(plan, caller, None, ask)


@pytest.fixture
async def door(store: ValkeyClient) -> Door:
    door = Door(store)
    await door.time.at(0)
    return door


def left(admission: Admission) -> Sequence[int]:
    return [state.remaining for state in admission.states]


class TestToken:
    async def test_is_good_when_nothing_has_ended(self, door: Door) -> None:
        admission = await door.admit(alice())
        assert (admission.verdict, left(admission)) == (Verdict.ADMITTED, [99, 99])

    @pytest.mark.parametrize(("since", "verdict"), [(0, "ADMITTED"), (1, "REVOKED"), (-1, "ADMITTED")])
    async def test_is_over_when_it_is_older_than_the_epoch(
        self, door: Door, since: int, verdict: str
    ) -> None:
        door.source.epoch = Epoch(ISSUED_MS + since)
        assert (await door.verdict(alice())).name == verdict

    async def test_is_over_when_its_session_has_ended_and_others_are_not(self, door: Door) -> None:
        door.source.epoch = Epoch(0, ("one", "n"))
        assert await door.verdict(alice("one")) is Verdict.REVOKED
        assert await door.verdict(alice("n")) is Verdict.REVOKED
        assert await door.verdict(alice("two")) is Verdict.ADMITTED

    async def test_is_an_invalid_token_to_its_caller(self, door: Door) -> None:
        door.source.epoch = Epoch(ISSUED_MS + 1)
        refusal = (await door.admit(alice())).refusal()
        assert isinstance(refusal, InvalidToken)
        assert (refusal.status, refusal.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')

    async def test_that_is_over_costs_an_attempt_and_nothing_else(self, door: Door) -> None:
        door.source.epoch = Epoch(ISSUED_MS + 1)
        ask = Ask(allowances=(quota(end_ms=door.time.now_ms + HOUR_MS),))
        admission = await door.admit(alice(), ask)
        assert (admission.verdict, left(admission)) == (Verdict.REVOKED, [99, 100])
        assert set(await lives(door.time.store)) == {
            EPOCH, f"{P}:v1:l:orders.attempts", f"{P}:v1:r:{admission.rid}",
        }  # fmt: skip

    async def test_that_is_over_gets_no_replay_and_no_kept_answer(self, door: Door) -> None:
        done = await door.admit(alice(), Ask(claim=claim()))
        await door.admitter.settle(done, b"result")
        entry = b"%d %d %d 0 -\nbody" % (door.time.now_ms, door.time.now_ms + 9000, door.time.now_ms + 9000)
        await door.time.store.execute("SET", lookup().key, entry)
        for ask, good in ((Ask(claim=claim()), Verdict.REPLAY), (Ask(lookup=lookup()), Verdict.FRESH)):
            assert await door.verdict(alice(), ask) is good
            assert await door.verdict(alice(), Ask(lookup=lookup(lease_ms=0))) is Verdict.FRESH
        await door.book.end_sessions("alice", ["one"])
        for ask in (Ask(claim=claim()), Ask(lookup=lookup()), Ask(lookup=lookup(lease_ms=0))):
            admission = await door.admit(alice(), ask)
            assert (admission.verdict, admission.tail) == (Verdict.REVOKED, b"")

    async def test_a_used_up_attempt_limit_comes_first_and_tells_nothing(self, door: Door) -> None:
        plan = Plan("orders", [RateLimit.fixed_window("attempts", limit=1, window=FAR)])
        door.source.epoch = Epoch(ISSUED_MS + 1)
        assert await door.verdict(alice(), plan=plan) is Verdict.REVOKED
        assert await door.verdict(alice(), plan=plan) is Verdict.LIMITED

    async def test_is_asked_about_where_nothing_is_counted(self, door: Door) -> None:
        assert await door.verdict(alice(), plan=NO_LIMITS) is Verdict.ADMITTED
        await door.book.end_all("alice", ISSUED_MS + 1)
        assert await door.verdict(alice(), plan=NO_LIMITS) is Verdict.REVOKED

    async def test_of_no_session_is_not_asked_about(self, door: Door) -> None:
        door.source.epoch = Epoch(ISSUED_MS + 1)
        assert await door.verdict(alice(None)) is Verdict.ADMITTED
        assert await door.verdict(Caller(None, "192.0.2.1")) is Verdict.ADMITTED
        assert door.source.asked == []

    async def test_a_call_whose_answer_was_lost_gets_the_same_once_more(self, door: Door) -> None:
        await door.admit(alice())
        door.time.lose = 1
        first = await door.admit(alice(), Ask(claim=claim(), lookup=lookup()))
        assert (first.verdict, first.is_leader, left(first)) == (Verdict.ADMITTED, True, [98, 98])
        await door.book.end_sessions("alice", ["one"])
        door.time.lose = 1
        assert await door.verdict(alice(), Ask(claim=claim("other"))) is Verdict.REVOKED


class TestEpoch:
    async def test_is_read_once_for_all_requests_and_again_when_its_time_is_over(self, door: Door) -> None:
        await asyncio.gather(*(door.admit(alice()) for _ in range(20)))
        await door.admit(alice("two"))
        assert door.source.asked == ["alice"]
        life = (await lives(door.time.store))[EPOCH]
        assert 0 < life <= GRACE_S * 1000
        await door.time.store.execute("DEL", EPOCH)
        await door.admit(alice())
        assert door.source.asked == ["alice"] * 2

    async def test_nothing_is_charged_while_it_is_read(self, door: Door) -> None:
        admissions = await asyncio.gather(*(door.admit(alice()) for _ in range(5)))
        assert min(left(admission)[0] for admission in admissions) == 95

    async def test_that_ends_all_holds_at_once_and_never_goes_back(self, door: Door) -> None:
        await door.admit(alice())
        await door.book.end_all("alice", ISSUED_MS + 5)
        await door.book.end_all("alice", ISSUED_MS + 2)
        assert await door.verdict(alice(issued_ms=ISSUED_MS + 4)) is Verdict.REVOKED
        assert await door.verdict(alice(issued_ms=ISSUED_MS + 5)) is Verdict.ADMITTED

    async def test_that_was_written_while_an_older_one_was_read_stays(self, door: Door) -> None:
        await door.book.end_sessions("alice", ["one"])  # not committed yet: the source knows nothing of it
        assert await door.verdict(alice("one")) is Verdict.REVOKED
        assert await door.verdict(alice("two")) is Verdict.ADMITTED
        await door.time.store.execute("DEL", EPOCH)
        await door.book.end_all("alice", ISSUED_MS + 1)
        assert await door.verdict(alice("two")) is Verdict.REVOKED

    async def test_of_another_account_is_another(self, door: Door) -> None:
        await door.book.end_all("bob", ISSUED_MS + 1)
        await door.book.end_sessions("bob", ["one"])
        assert await door.verdict(alice()) is Verdict.ADMITTED

    @pytest.mark.parametrize(("left_ms", "least", "most"), [(30_000, 20_000, 30_000), (50, 5_000, 10_000)])
    async def test_lives_no_longer_by_being_written_to_than_the_commit_needs(
        self, door: Door, left_ms: int, least: int, most: int
    ) -> None:
        await door.admit(alice())
        await door.time.store.execute("PEXPIRE", EPOCH, left_ms)
        await door.book.end_sessions("alice", ["two"])
        assert least < (await lives(door.time.store))[EPOCH] <= most

    async def test_of_no_session_writes_nothing(self, door: Door) -> None:
        await door.book.end_sessions("alice", [])
        assert await lives(door.time.store) == {}

    @pytest.mark.parametrize("kind", ["SET", "LPUSH"])
    async def test_that_somebody_else_wrote_over_is_an_outage_and_no_way_in_for_ever(
        self, door: Door, kind: str
    ) -> None:
        await door.time.store.execute(kind, EPOCH, "garbage")
        assert (await door.admit(alice())).degraded
        door.clock.advance(GRACE_S)
        with pytest.raises(RevocationUnknown):
            await door.admit(alice())


class TestOutage:
    async def test_of_the_store_is_borne_for_the_grace_time_and_no_longer(self, door: Door) -> None:
        await door.admit(alice())
        door.time.down = True
        assert (await door.admit(alice())).degraded
        door.clock.advance(GRACE_S - 1)
        assert (await door.admit(alice())).allowed
        door.clock.advance(1)
        with pytest.raises(RevocationUnknown) as outage:
            await door.admit(alice())
        assert (outage.value.status, outage.value.extensions["reason"]) == (503, "store_unavailable")
        assert (await door.admit(alice(None))).allowed  # nobody is asked about it
        door.time.down = False
        assert await door.verdict(alice()) is Verdict.ADMITTED
        door.time.down = True
        assert (await door.admit(alice())).degraded  # another outage has a grace time of its own

    async def test_of_the_database_is_borne_likewise(self, door: Door) -> None:
        door.source.is_down = True
        assert (await door.admit(alice())).verdict is Verdict.ADMITTED
        door.clock.advance(GRACE_S)
        with pytest.raises(RevocationUnknown):
            await door.admit(alice())
        door.source.is_down = False
        assert await door.verdict(alice()) is Verdict.ADMITTED
        door.source.is_down = True
        assert await door.verdict(alice()) is Verdict.ADMITTED  # it is in the store

    async def test_of_the_database_lets_what_the_store_knows_hold(self, door: Door) -> None:
        await door.book.end_all("alice", ISSUED_MS + 1)
        door.source.is_down = True
        assert await door.verdict(alice()) is Verdict.REVOKED

    async def test_leaves_nothing_behind_for_requests_that_take_nothing(self, door: Door) -> None:
        door.time.down = True
        for _ in range(3):
            await door.admit(alice())
        assert not door.admitter._local_ask._unended

    async def test_between_asking_and_reading_is_one_of_the_store(
        self, door: Door, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = door.source.epoch_of

        async def epoch_of(account: str) -> Epoch:
            door.time.down = True
            return await read(account)

        monkeypatch.setattr(door.source, "epoch_of", epoch_of)
        assert (await door.admit(alice())).degraded

    async def test_a_store_that_forgets_at_once_does_not_keep_the_request_for_ever(
        self, door: Door, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = door.time.run

        async def forgets(*args: Any, **options: Any) -> Any:
            reply = await run(*args, **options)
            await door.time.store.execute("DEL", EPOCH)
            return reply

        monkeypatch.setattr(door.time, "run", forgets)
        with pytest.raises(RevocationUnknown):
            await door.admit(alice())

    async def test_a_caller_who_leaves_does_not_end_the_reading_for_the_others(self, door: Door) -> None:
        tasks = [asyncio.create_task(door.admit(alice())) for _ in range(3)]
        while not door.source.asked:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        tasks[0].cancel()
        assert [(await task).allowed for task in tasks[1:]] == [True, True]
        assert door.source.asked == ["alice"]

    async def test_of_the_store_while_tokens_are_ended_is_told(self, door: Door) -> None:
        class Gone(ValkeyClient):
            async def run(self, *_: Any, **__: Any) -> Any:
                raise StoreDown("gone")

        book = EpochBook(Gone("valkey://127.0.0.1:1"), grace_s=GRACE_S)
        with pytest.raises(StoreDown):
            await book.end_all("alice", 1)


async def test_closing_waits_for_an_epoch_whose_asker_has_gone(door: Door) -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    class Slow(Source):
        async def epoch_of(self, account: str) -> Epoch:
            asked.set()
            await may_answer.wait()
            return await super().epoch_of(account)

    source = Slow()
    door.admitter.prove_tokens(Epochs(door.time, source, clock=door.clock, grace_s=GRACE_S))
    asker = asyncio.create_task(door.admit(alice()))
    await asked.wait()
    asker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asker
    closing = asyncio.create_task(door.admitter.close())
    await asyncio.sleep(0)
    assert not closing.done()
    may_answer.set()
    await closing
    assert source.asked == ["alice"]
    await door.admitter.close()  # nothing is left


async def test_an_end_of_all_does_not_hide_a_session_whose_end_the_store_forgot(door: Door) -> None:
    """Its token may be younger than that end, where clocks differ."""
    door.source.epoch = Epoch(0, ("one",))
    await door.book.end_all("alice", ISSUED_MS - 1)
    assert await door.verdict(alice()) is Verdict.REVOKED
    assert await door.verdict(alice("other")) is Verdict.ADMITTED
    assert await door.verdict(alice("other", ISSUED_MS - 2)) is Verdict.REVOKED
    assert door.source.asked == ["alice"]
