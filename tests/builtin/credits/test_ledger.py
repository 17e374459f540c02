"""The ledger: charges, grants and refunds on a real PostgreSQL."""

import asyncio

import pytest
from sqlalchemy import event, text

from app.builtin.credits.models import CreditAccount
from app.builtin.credits.repository import LedgerRepository
from app.builtin.credits.service import KeyUsed, Ledger, RefundTooLarge, refund, set_plan
from app.core.db import ConstraintViolated, Database, DatabaseUnavailable, InvalidValue, get_db_context
from app.core.errors import EntityNotFoundError, Unprocessable
from app.core.observability import EventHub
from app.core.policies import CREDIT, Balance, Debit
from app.core.resilience import ManualClock
from tests.builtin.credits.books import charge, check_books, debit_of, entries, give, tomorrow
from tests.lock_waits import until_a_session_waits


@pytest.fixture(autouse=True)
async def books_are_right(database: Database, clean_database: None) -> object:
    yield
    await check_books(database)


class TestDebit:
    async def test_lowers_the_balance_and_raises_the_version(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 10)
        assert await charge(database, ledger, debit_of(account, 2.5)) == Balance(7_500_000, 2)
        assert await ledger.balance(account) == Balance(7_500_000, 2)
        assert await entries(database, account) == [("grant", 10, 0), ("debit", -2.5, 0)]

    async def test_of_one_key_is_posted_once(self, database: Database, ledger: Ledger, account: str) -> None:
        await give(database, account, 10)
        debit = debit_of(account, 2)
        assert (
            await charge(database, ledger, debit)
            == await charge(database, ledger, debit)
            == Balance(8_000_000, 2)
        )
        assert len(await entries(database, account)) == 2

    async def test_what_the_balance_does_not_cover_is_overage(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 3)
        assert await charge(database, ledger, debit_of(account, 5)) == Balance(0, 2)
        assert await charge(database, ledger, debit_of(account, 1)) == Balance(0, 3)
        assert (await entries(database, account))[1:] == [("debit", -3, 2), ("debit", 0, 1)]

    async def test_of_an_unknown_account_makes_it(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        assert await ledger.balance(account) == Balance(0, 0)
        debit = debit_of(account, 5)
        for _ in range(2):
            assert await charge(database, ledger, debit) == Balance(0, 1)
        assert await entries(database, account) == [("debit", 0, 5)]

    async def test_of_nothing_is_on_record(self, database: Database, ledger: Ledger, account: str) -> None:
        await give(database, account, 1)
        debit = debit_of(account, 0)
        assert await charge(database, ledger, debit) == Balance(CREDIT, 2)
        assert set(await ledger.settled([debit.settlement_key, "other"])) == {debit.settlement_key}

    async def test_must_not_be_negative(self, database: Database, ledger: Ledger, account: str) -> None:
        with pytest.raises(ValueError, match="negative"):
            await charge(database, ledger, debit_of(account, -1))

    async def test_is_one_round_trip(self, database: Database, ledger: Ledger, account: str) -> None:
        await give(database, account, 10)
        statements = 0

        def count(*_: object) -> None:
            nonlocal statements
            statements += 1

        async with database.session() as session:
            await session.connection()
            event.listen(database.engine.sync_engine, "before_cursor_execute", count)
            try:
                await ledger.debit(session, debit_of(account, 1))
            finally:
                event.remove(database.engine.sync_engine, "before_cursor_execute", count)
            await session.commit()
        assert statements == 1

    async def test_goes_with_its_transaction(self, database: Database, ledger: Ledger, account: str) -> None:
        await give(database, account, 10)
        async with database.session() as session:
            await ledger.debit(session, debit_of(account, 1, "k"))
            await session.rollback()
        assert await ledger.balance(account) == Balance(10 * CREDIT, 1)
        assert await ledger.settled(["k"]) == {}

    async def test_twenty_at_once_are_all_charged(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 100)
        after = await asyncio.gather(*(charge(database, ledger, debit_of(account, 1)) for _ in range(20)))
        assert sorted(after) == [Balance((80 + number) * CREDIT, 21 - number) for number in range(20)]

    async def test_twenty_of_one_key_at_once_are_one(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 100)
        debit = debit_of(account, 1)
        after = await asyncio.gather(*(charge(database, ledger, debit) for _ in range(20)))
        assert set(after) == {Balance(99 * CREDIT, 2)}

    async def test_twenty_at_once_of_a_balance_for_five(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 5)
        await asyncio.gather(*(charge(database, ledger, debit_of(account, 1)) for _ in range(20)))
        posted = await entries(database, account)
        assert (sum(amount for _, amount, _ in posted), sum(overage for _, _, overage in posted)) == (0, 15)

    async def test_an_amount_beyond_every_balance_is_overage(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 1)
        huge = debit_of(account, 0)._replace(micro=2**62)
        assert await charge(database, ledger, huge) == Balance(0, 2)


class TestTwins:
    """One charge under the names of two periods: a rerun began in another one than the run."""

    @staticmethod
    def twins(account: str, within_s: float = 60.0) -> tuple[Debit, Debit]:
        """The same work, charged in two periods."""
        first, then = (debit_of(account, 2, f"i:k:{period}") for period in (5, 6))
        return (
            first._replace(twins=("i:k:4", "i:k:6"), within_s=within_s),
            then._replace(twins=("i:k:5", "i:k:7"), within_s=within_s, is_rerun=True),
        )

    @pytest.mark.parametrize("order", [1, -1])
    async def test_are_charged_once(
        self, database: Database, ledger: Ledger, account: str, order: int
    ) -> None:
        await give(database, account, 10)
        for debit in self.twins(account)[::order]:
            assert await charge(database, ledger, debit) == Balance(8 * CREDIT, 2)

    async def test_are_two_charges_when_the_first_is_older_than_a_key_is_kept(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 10)
        for debit, left in zip(self.twins(account, within_s=0.0), (8, 6), strict=True):
            assert (await charge(database, ledger, debit)).micro == left * CREDIT

    async def test_of_one_batch_are_charged_once(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 10)
        async with get_db_context(database) as session:
            await LedgerRepository(session).debit([*self.twins(account), debit_of(account, 1)])
        assert await entries(database, account) == [("grant", 10, 0), ("debit", -2, 0), ("debit", -1, 0)]

    @pytest.mark.parametrize("is_known", [True, False])
    async def test_a_rerun_waits_for_a_run_that_is_just_being_charged(
        self, database: Database, ledger: Ledger, account: str, is_known: bool
    ) -> None:
        if is_known:
            await give(database, account, 10)
        first, then = self.twins(account)
        async with database.session() as session:
            await ledger.debit(session, first)
            rerun = asyncio.create_task(charge(database, ledger, then))
            await until_a_session_waits(database)
            await session.commit()
        assert (await rerun).micro == (8 if is_known else 0) * CREDIT
        assert [kind for kind, _, _ in await entries(database, account)].count("debit") == 1


class TestDebitsTogether:
    async def test_count_against_each_other_and_once_each(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        other = account + "2"
        await give(database, account, 5)
        await give(database, other, 5)
        posted = debit_of(account, 1)
        await charge(database, ledger, posted)
        debits = [
            debit_of(account, 2),
            debit_of(other, 3),
            posted,
            debit_of(account, 4),
            debit_of("nobody", 1),
        ]
        async with get_db_context(database) as session:
            after = await LedgerRepository(session).debit([*debits, debits[0]])
        assert after == {account: Balance(0, 4), other: Balance(2 * CREDIT, 2), "nobody": Balance(0, 1)}
        assert await entries(database, account) == [
            ("grant", 5, 0),
            ("debit", -1, 0),
            ("debit", -2, 0),
            ("debit", -2, 2),
        ]

    async def test_batches_in_opposite_order_do_not_lock_each_other_out(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        names = [f"{account}{number}" for number in range(4)]
        for name in names:
            await give(database, name, 100)

        async def post(order: list[str]) -> None:
            async with get_db_context(database) as session:
                await LedgerRepository(session).debit([debit_of(name, 1) for name in order])

        await asyncio.gather(*(post(names if number % 2 else names[::-1]) for number in range(12)))
        assert {(await ledger.balance(name)).micro for name in names} == {88 * CREDIT}


class TestGrant:
    async def test_of_one_key_is_given_once(self, database: Database, account: str) -> None:
        first, again = [await give(database, account, 10, key="order 7") for _ in range(2)]
        assert (first.is_new, again.is_new, first.id == again.id) == (True, False, True)
        assert again.balance == Balance(10 * CREDIT, 1)

    @pytest.mark.parametrize("other", [{"amount": 11}, {"account": "somebody"}])
    async def test_a_key_of_another_grant_is_refused(
        self, database: Database, account: str, other: dict[str, object]
    ) -> None:
        await give(database, account, 10, key="k")
        with pytest.raises(KeyUsed):
            await give(database, **{"account": account, "amount": 10, "key": "k"} | other)  # type: ignore[arg-type]

    async def test_more_than_lua_can_count_is_refused(self, database: Database, account: str) -> None:
        for _ in range(9):
            await give(database, account, 1_000_000_000)
        with pytest.raises(Unprocessable, match="that many"):
            await give(database, account, 1_000_000_000)

    async def test_many_at_once_are_all_given(self, database: Database, ledger: Ledger, account: str) -> None:
        await asyncio.gather(*(give(database, account, 1) for _ in range(8)))
        assert await ledger.balance(account) == Balance(8 * CREDIT, 8)


class TestRefund:
    async def back(self, database: Database, debit_key: str, credits_: float, key: str) -> Balance:
        async with get_db_context(database) as session:
            return (await refund(session, debit_key, int(credits_ * CREDIT), key=key)).balance

    async def test_gives_back_once(self, database: Database, ledger: Ledger, account: str) -> None:
        await give(database, account, 10)
        await charge(database, ledger, debit_of(account, 4, "d"))
        for _ in range(2):
            assert await self.back(database, "d", 3, "r") == Balance(9 * CREDIT, 3)

    async def test_of_more_than_was_taken_is_refused(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 3)
        await charge(database, ledger, debit_of(account, 4, "d"))  # 1 of it is overage
        with pytest.raises(RefundTooLarge):
            await self.back(database, "d", 4, "r1")
        await self.back(database, "d", 2, "r2")
        with pytest.raises(RefundTooLarge, match="1000000 micro"):
            await self.back(database, "d", 2, "r3")

    async def test_many_at_once_never_exceed_it(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 10)
        await charge(database, ledger, debit_of(account, 3, "d"))
        outcomes = await asyncio.gather(
            *(self.back(database, "d", 1, f"r{number}") for number in range(6)), return_exceptions=True
        )
        assert sum(isinstance(outcome, RefundTooLarge) for outcome in outcomes) == 3
        assert (await ledger.balance(account)).micro == 10 * CREDIT

    async def test_of_what_was_never_taken_is_404_and_of_nothing_422(self, database: Database) -> None:
        with pytest.raises(EntityNotFoundError):
            await self.back(database, "d", 1, "r")
        with pytest.raises(Unprocessable):
            await self.back(database, "d", 0, "r")


class TestSchema:
    @pytest.mark.parametrize(
        "statement", ["UPDATE credit_ledger SET amount_micro = amount_micro", "DELETE FROM credit_ledger"]
    )
    async def test_the_ledger_is_append_only(self, database: Database, account: str, statement: str) -> None:
        await give(database, account, 1)
        with pytest.raises(ConstraintViolated) as refused:
            async with database.connect() as connection:
                await connection.execute(text(statement))
        assert "append-only" in str(refused.value.__cause__)

    @pytest.mark.parametrize("value", ["balance_micro = -1", "balance_micro = 9007199254740992"])
    async def test_a_balance_stays_in_range(self, database: Database, account: str, value: str) -> None:
        await give(database, account, 1)
        with pytest.raises(InvalidValue) as refused:
            async with database.connect() as connection:
                await connection.execute(text(f"UPDATE credit_accounts SET {value}"))
        assert refused.value.constraint == "ck_credit_accounts_balance_is_exact_everywhere"

    @pytest.mark.parametrize(
        "zone", ["Mars/Olympus", "", "../../etc/passwd", "UTC\x00", "x" * 500, "localtime", "right/UTC"]
    )
    async def test_a_time_zone_that_does_not_exist_is_refused(
        self, database: Database, account: str, zone: str
    ) -> None:
        with pytest.raises(ValueError, match="time zone"):
            CreditAccount(id=account, time_zone=zone)
        with pytest.raises(Unprocessable, match="time zone"):
            async with get_db_context(database) as session:
                await set_plan(session, account, time_zone=zone)

    @pytest.mark.parametrize("amount", [0, -1, 1.5, True])
    async def test_a_grant_is_of_whole_credits(self, database: Database, account: str, amount: int) -> None:
        with pytest.raises(Unprocessable, match="whole credits"):
            await give(database, account, amount)

    async def test_a_grant_ends_at_the_same_time_everywhere(self, database: Database, account: str) -> None:
        with pytest.raises(Unprocessable, match="needs a time zone"):
            await give(database, account, 1, expires_at=tomorrow().replace(tzinfo=None))

    async def test_a_plan_must_be_a_name(self, database: Database, account: str) -> None:
        with pytest.raises(Unprocessable, match="plan"):
            async with get_db_context(database) as session:
                await set_plan(session, account, plan="Gold!")


async def test_grants_that_expire_need_no_more_than_the_others(database: Database, account: str) -> None:
    posted = await give(database, account, 10, expires_at=tomorrow(), priority=5, is_paid=True)
    assert posted.balance == Balance(10 * CREDIT, 1)


async def test_without_the_database_a_balance_is_unavailable() -> None:
    dead = Ledger(Database("postgresql+asyncpg://app:word@127.0.0.1:1/app"), EventHub(), ManualClock())
    with pytest.raises(DatabaseUnavailable):
        await dead.balance("a")
    with pytest.raises(DatabaseUnavailable):
        await dead.settled(["k"])
