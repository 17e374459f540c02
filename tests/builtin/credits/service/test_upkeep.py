"""Sweeping, reconciling and expiring, with PostgreSQL and Valkey."""

import asyncio
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.builtin.credits.service import Ledger, Posted, Upkeep
from app.core.db import Database, DatabaseUnavailable
from app.core.observability import Event, EventHub, HoldsEvent
from app.core.policies import CREDIT, Balance, HoldBook, account_key
from app.core.policies._holds import ACCOUNTS_KEY
from app.core.resilience import ManualClock
from app.core.valkey import StoreDown, ValkeyClient
from tests.builtin.credits.books import (
    Books,
    Events,
    charge,
    check_books,
    debit_of,
    end_grant,
    entries,
    give,
    server_ms,
    tomorrow,
)


class TestSweep:
    async def test_a_hold_whose_charge_is_in_the_ledger_ends_with_the_balance_after_it(
        self, books: Books, account: str, events: Events
    ) -> None:
        await give(books.database, account, 10)
        await books.load(account)
        rid = await books.hold(account, 3, "k")
        await charge(
            books.database, books.ledger, debit_of(account, 2, "k")
        )  # settled, and the store was not told
        assert rid
        await books.expire(account, rid)
        assert await books.upkeep.sweep() == 1
        assert await books.state(account) == (8 * CREDIT, 0)
        assert (events.count("committed"), events.count("released")) == (1, 0)

    async def test_a_hold_whose_charge_is_not_there_is_released(
        self, books: Books, account: str, events: Events
    ) -> None:
        await give(books.database, account, 10)
        await books.load(account)
        rid = await books.hold(account, 3, "k")
        assert rid
        await books.expire(account, rid)
        assert [await books.upkeep.sweep() for _ in range(2)] == [1, 0]
        assert await books.state(account) == (10 * CREDIT, 0)
        assert (events.count("committed"), events.count("released")) == (0, 1)

    async def test_tells_how_many_holds_are_open(
        self, database: Database, ledger: Ledger, books: Books, account: str
    ) -> None:
        hub, told = EventHub(), list[Event]()
        hub.subscribe(HoldsEvent, told.append)
        upkeep = Upkeep(database, ledger, books.book, hub)
        await upkeep.sweep()
        await give(books.database, account, 10)
        await books.load(account)
        over, *_ = [await books.hold(account, 1, key) for key in "abc"]
        assert over
        await upkeep.sweep()
        await books.expire(account, over)
        await upkeep.sweep()
        assert told == [HoldsEvent(0), HoldsEvent(3), HoldsEvent(2)]

    async def test_a_handler_that_commits_after_that_is_charged_once(
        self, books: Books, account: str
    ) -> None:
        await give(books.database, account, 10)
        await books.load(account)
        rid = await books.hold(account, 3, "k")
        assert rid
        await books.expire(account, rid)
        await books.upkeep.sweep()
        first, late = [
            await charge(books.database, books.ledger, debit_of(account, 3, "k")) for _ in range(2)
        ]
        assert first == late == Balance(7 * CREDIT, 2)
        assert await books.book.free(account, rid, late) is None
        assert await books.state(account) == (7 * CREDIT, 0)

    async def test_holds_of_requests_in_flight_stay(self, books: Books, account: str) -> None:
        await give(books.database, account, 10)
        await books.load(account)
        await books.hold(account, 3, "k")
        assert await books.upkeep.sweep() == 0
        assert await books.state(account) == (10 * CREDIT, 3 * CREDIT)

    async def test_many_holds_of_many_accounts(self, books: Books) -> None:
        for number in range(30):
            account = f"user{number}"
            await give(books.database, account, 10)
            await books.load(account)
            for index in range(5):
                rid = await books.hold(account, 1, f"{account}.{index}")
                assert rid
                await books.expire(account, rid)
            await charge(books.database, books.ledger, debit_of(account, 1, f"{account}.0"))
        assert await books.upkeep.sweep() == 150
        for number in range(30):
            assert await books.state(f"user{number}") == (9 * CREDIT, 0)

    async def test_two_sweepers_at_once_end_each_hold_once(
        self, books: Books, account: str, events: Events
    ) -> None:
        await give(books.database, account, 10)
        await books.load(account)
        for number in range(5):
            rid = await books.hold(account, 1, f"k{number}")
            assert rid
            await books.expire(account, rid)
        assert sum(await asyncio.gather(books.upkeep.sweep(), books.upkeep.sweep())) == 5
        assert events.count("released") == 5
        assert await books.state(account) == (10 * CREDIT, 0)

    async def test_while_the_database_is_away_nothing_is_released(self, books: Books, account: str) -> None:
        await give(books.database, account, 10)
        await books.load(account)
        rid = await books.hold(account, 3, "k")
        assert rid
        await books.expire(account, rid)
        dead = Database("postgresql+asyncpg://app:word@127.0.0.1:1/app")
        upkeep = Upkeep(dead, Ledger(dead, EventHub(), ManualClock()), books.book, EventHub())
        with pytest.raises(DatabaseUnavailable):
            await upkeep.sweep()
        assert await books.state(account) == (10 * CREDIT, 3 * CREDIT)

    @pytest.mark.parametrize("foreign", [("RPUSH", "x"), ("HSET", "v", "nan-sense", "h", "y")])
    async def test_an_account_that_somebody_else_wrote_over_does_not_stop_the_others(
        self, books: Books, account: str, foreign: tuple[str, ...]
    ) -> None:
        wrong = uuid4().hex
        for each in (account, wrong):
            await give(books.database, each, 10)
            await books.load(each)
        rid = await books.hold(account, 3, "k")
        assert rid
        await books.expire(account, rid)
        await books.store.execute("DEL", account_key(wrong))
        await books.store.execute(foreign[0], account_key(wrong), *foreign[1:])
        assert await books.upkeep.sweep() == 1
        assert await books.state(account) == (10 * CREDIT, 0)
        assert await books.upkeep.reconcile() == 0

    async def test_while_the_store_is_away_it_fails(self, books: Books) -> None:
        dead = HoldBook(ValkeyClient("valkey://127.0.0.1:1/0"))
        with pytest.raises(StoreDown):
            await Upkeep(books.database, books.ledger, dead, EventHub()).sweep()


class TestReconcile:
    async def test_the_store_follows_the_ledger(self, books: Books, account: str) -> None:
        await give(books.database, account, 10)
        await books.load(account)
        await books.hold(account, 3, "k")
        await give(books.database, account, 5)  # and nobody told the store
        assert [await books.upkeep.reconcile() for _ in range(2)] == [1, 0]
        assert await books.state(account) == (15 * CREDIT, 3 * CREDIT)

    async def test_a_ledger_that_went_back_is_believed(self, books: Books, account: str) -> None:
        await give(books.database, account, 10)
        await books.book.load(account, Balance(99 * CREDIT, 7))  # of versions that the failover lost
        assert await books.upkeep.reconcile() == 1
        assert await books.state(account) == (10 * CREDIT, 0)
        assert await books.book.sync(account, Balance(9 * CREDIT, 2))

    async def test_an_account_that_the_ledger_does_not_know_has_nothing(
        self, books: Books, account: str
    ) -> None:
        await books.book.load(account, Balance(99, 7))
        await books.upkeep.reconcile()
        assert await books.state(account) == (0, 0)

    async def test_accounts_that_left_the_store_leave_the_list(self, books: Books, account: str) -> None:
        await give(books.database, account, 10)
        await books.load(account)
        await books.store.execute("ZADD", ACCOUNTS_KEY, await server_ms(books.store) - 61_000, account)
        await books.store.execute("DEL", account_key(account))
        await books.upkeep.reconcile()
        assert await books.store.execute("ZCARD", ACCOUNTS_KEY) == 0

    async def test_the_list_lives_on_without_loads(self, books: Books, account: str) -> None:
        await books.load(account)
        await books.store.execute("PEXPIRE", ACCOUNTS_KEY, 100_000)
        await books.upkeep.reconcile()
        assert await books.store.execute("PTTL", ACCOUNTS_KEY) > 86_000_000

    async def test_after_a_flush_the_account_is_loaded_as_the_ledger_has_it(
        self, books: Books, account: str
    ) -> None:
        await give(books.database, account, 10)
        await books.load(account)
        await books.hold(account, 3, "k")
        await books.store.execute("FLUSHDB")
        assert await books.upkeep.reconcile() == 0
        assert (await books.book.overdue(account)).version is None  # COLD
        await books.load(account)
        assert await books.state(account) == (10 * CREDIT, 0)


class TestExpireGrants:
    async def test_what_is_left_of_it_is_taken_away_once_and_the_store_is_told(
        self, books: Books, account: str, events: Events
    ) -> None:
        await give(books.database, account, 5)
        trial = await give(books.database, account, 10, expires_at=tomorrow())
        await charge(books.database, books.ledger, debit_of(account, 4))
        await books.load(account)
        assert await books.upkeep.expire_grants() == 0
        await end_grant(books.database, trial)
        assert [await books.upkeep.expire_grants() for _ in range(2)] == [1, 0]
        assert (await entries(books.database, account))[-1] == ("expire", -6, 0)
        assert await books.state(account) == (5 * CREDIT, 0)
        assert events.count("expired") == 1
        await check_books(books.database)

    async def test_one_that_was_spent_leaves_no_entry(self, books: Books, account: str) -> None:
        trial = await give(books.database, account, 10, expires_at=tomorrow())
        await charge(books.database, books.ledger, debit_of(account, 10))
        await end_grant(books.database, trial)
        assert [await books.upkeep.expire_grants() for _ in range(2)] == [1, 0]
        assert len(await entries(books.database, account)) == 2

    async def test_during_a_hold_the_charge_takes_what_remains_and_notes_the_rest(
        self, books: Books, account: str
    ) -> None:
        await give(books.database, account, 2)
        trial = await give(books.database, account, 10, expires_at=tomorrow())
        await books.load(account)
        rid = await books.hold(account, 8, "k")
        await end_grant(books.database, trial)
        await books.upkeep.expire_grants()
        assert await books.state(account) == (2 * CREDIT, 8 * CREDIT)
        assert await books.hold(account, 1, "other") is None
        after = await charge(books.database, books.ledger, debit_of(account, 8, "k"))
        assert rid
        await books.book.free(account, rid, after)
        assert (await entries(books.database, account))[-1] == ("debit", -2, 6)
        assert await books.state(account) == (0, 0)
        await check_books(books.database)

    async def test_twice_in_one_account_counts_from_where_it_was(self, books: Books, account: str) -> None:
        await give(books.database, account, 10)
        for expected in (("expire", -7, 0), ("expire", -2, 0)):
            trial = await give(books.database, account, 10, expires_at=tomorrow())
            await charge(books.database, books.ledger, debit_of(account, 10 + expected[1]))
            await end_grant(books.database, trial)
            await books.upkeep.expire_grants()
            assert (await entries(books.database, account))[-1] == expected
        assert (await books.ledger.balance(account)).micro == 10 * CREDIT

    async def test_of_two_at_once_one_ends_it(self, books: Books, account: str) -> None:
        trial = await give(books.database, account, 10, expires_at=tomorrow())
        await end_grant(books.database, trial)
        await asyncio.gather(*(books.upkeep.expire_account(account) for _ in range(4)))
        assert [kind for kind, *_ in await entries(books.database, account)] == ["grant", "expire"]
        await check_books(books.database)

    async def test_an_account_whose_entries_do_not_add_up_does_not_stop_the_others(
        self, books: Books
    ) -> None:
        for name in ("a", "b"):
            trial = await give(books.database, name, 10, expires_at=tomorrow())
            await end_grant(books.database, trial)
        await charge(books.database, books.ledger, debit_of("a", 9))
        async with books.database.connect() as connection:  # somebody's hand
            await connection.execute(
                text("UPDATE credit_grants SET remaining_micro = 1 WHERE account_id = 'a'")
            )
        assert await books.upkeep.expire_grants() == 1
        assert (await books.ledger.balance("b")).micro == 0
        assert (await books.ledger.balance("a")).micro == CREDIT

    async def test_more_accounts_than_one_page(self, books: Books) -> None:
        for name in (f"user{number:03}" for number in range(130)):
            await end_grant(books.database, await give(books.database, name, 1, expires_at=tomorrow()))
        assert await books.upkeep.expire_grants() == 130


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("hold"), st.integers(0, 6)),
        st.tuples(st.just("settle"), st.integers(0, 8)),
        st.tuples(st.just("settle twice"), st.integers(0, 3)),
        st.tuples(st.just("crash after commit"), st.integers(0, 8)),
        st.tuples(st.just("abort"), st.just(0)),
        st.tuples(st.just("expire"), st.just(0)),
        st.tuples(st.just("grant"), st.integers(1, 6)),
        st.tuples(st.just("trial"), st.integers(1, 6)),
        st.tuples(st.just("end trial"), st.just(0)),
        st.tuples(st.just("sweep"), st.just(0)),
        st.tuples(st.just("reconcile"), st.just(0)),
        st.tuples(st.just("flush"), st.just(0)),
    ),
    min_size=5,
    max_size=40,
)


class Machine:
    """Plays actions on one account as requests, crashes and the keepers would; the oldest hold is the one that is meant."""

    def __init__(self, books: Books, account: str) -> None:
        self.books = books
        self.account = account
        self.open: list[tuple[str, str]] = []  # rid, settlement key
        self.expired: list[tuple[str, str]] = []
        self.charged: dict[str, int] = {}
        self.trials: list[Posted] = []
        self.number = 0

    async def play(self, action: str, amount: int) -> None:
        await getattr(self, action.replace(" ", "_"))(amount)

    async def hold(self, amount: int) -> None:
        if (await self.books.book.overdue(self.account)).version is None:
            await self.books.load(self.account)
        self.number += 1
        key = f"{self.account}.{self.number}"
        rid = await self.books.hold(self.account, amount, key)
        if rid is not None:
            self.open.append((rid, key))

    async def abort(self, _: int) -> None:
        if self.open:
            await self.books.book.free(self.account, self.open.pop(0)[0])

    async def expire(self, _: int) -> None:
        if self.open:
            self.expired.append(self.open.pop(0))
            await self.books.expire(self.account, self.expired[-1][0])

    async def grant(self, amount: int) -> None:
        posted = await give(self.books.database, self.account, amount)
        await self.books.book.sync(self.account, posted.balance)

    async def trial(self, amount: int) -> None:
        self.trials.append(await give(self.books.database, self.account, amount, expires_at=tomorrow()))

    async def end_trial(self, _: int) -> None:
        if self.trials:
            await end_grant(self.books.database, self.trials.pop(0))
            await self.books.upkeep.expire_grants()

    async def sweep(self, _: int) -> None:
        await self.books.upkeep.sweep()

    async def reconcile(self, _: int) -> None:
        await self.books.upkeep.reconcile()

    async def flush(self, _: int) -> None:
        await self.books.store.execute("FLUSHDB")

    async def settle(self, amount: int) -> None:
        await self._settle(amount, tells=1)

    async def settle_twice(self, amount: int) -> None:
        await self._settle(amount, tells=2)

    async def crash_after_commit(self, amount: int) -> None:
        await self._settle(amount, tells=0)

    async def _settle(self, amount: int, tells: int) -> None:
        waiting = self.open or self.expired  # late, when its hold is over
        if not waiting:
            return
        rid, key = waiting.pop(0)
        debit = debit_of(self.account, amount, key)
        after = await charge(self.books.database, self.books.ledger, debit)
        self.charged[key] = amount * CREDIT
        for _ in range(tells):
            assert await charge(self.books.database, self.books.ledger, debit) == after
            await self.books.book.free(self.account, rid, after)
        if not tells:
            await self.books.expire(self.account, rid)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
async def test_whatever_happens_the_books_are_right(books: Books, actions: list[tuple[str, int]]) -> None:
    await books.store.execute("FLUSHDB")
    machine = Machine(books, uuid4().hex)
    await give(books.database, machine.account, 10)
    for action, amount in actions:
        await machine.play(action, amount)
        await check_books(books.database)
    # Everybody comes to an end: what is in flight crashes, and the keepers do their work.
    for rid, _ in machine.open:
        await books.expire(machine.account, rid)
    await books.upkeep.sweep()
    await books.upkeep.reconcile()
    balance, held = await books.state(machine.account)
    ledger = await books.ledger.balance(machine.account)
    assert held == 0
    assert balance in (ledger.micro, 0)  # 0: flushed, or never asked for
    assert (balance == ledger.micro) or (await books.book.overdue(machine.account)).version is None
    async with books.database.connect() as connection:
        rows = await connection.execute(
            text(
                "SELECT settlement_key, overage_micro - amount_micro FROM credit_ledger WHERE account_id = :a AND kind = 'debit'"
            ),
            {"a": machine.account},
        )
        posted = [(key, int(micro)) for key, micro in rows]
    assert dict(posted) == machine.charged
    assert len(posted) == len(machine.charged)
