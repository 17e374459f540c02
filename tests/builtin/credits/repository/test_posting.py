"""Batches of charges on a real PostgreSQL: in one round trip, and right whatever others post meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import event, text

from app.builtin.credits.repository import LedgerRepository, post_at_once
from app.builtin.credits.service import Ledger
from app.core.db import ConstraintViolated, Database, cached_db_query, get_db_context
from app.core.observability import EventHub
from app.core.policies import CREDIT, Balance, Debit
from app.core.resilience import ManualClock
from app.core.valkey import Cache, ValkeyClient, configure_cache
from tests.builtin.credits.books import charge, check_books, debit_of, entries, give, until
from tests.lock_waits import until_a_session_waits


@pytest.fixture(autouse=True)
async def books_are_right(database: Database, clean_database: None) -> AsyncIterator[None]:
    yield
    await check_books(database)


async def post(ledger: Ledger, debits: Sequence[Debit]) -> list[Balance]:
    """What ``debit_later`` tells, in order."""
    told: list[Balance] = []
    for debit in debits:
        ledger.debit_later(debit, told.append)
    await until(lambda: len(told) == len(debits))
    return told


async def sent_on(database: Database) -> list[str]:
    """What goes to the server on the only connection of ``database`` from now on, ``BEGIN`` and ``COMMIT`` among it."""
    sent: list[str] = []
    async with database.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
    # The driver tells what is asked of it itself, SQLAlchemy what it has the driver prepare and run.
    driver.add_query_logger(lambda record: sent.append(record.query))
    event.listen(database.engine.sync_engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    return sent


@pytest.fixture
async def narrow(postgres_url: str) -> AsyncIterator[Database]:
    """A database of one connection."""
    database = Database(postgres_url, pool_size=1, max_overflow=0)
    yield database
    await database.close()


class TestABatch:
    async def test_is_one_round_trip(self, narrow: Database, account: str) -> None:
        names = [f"{account}{number}" for number in range(3)]
        for name in names:
            await give(narrow, name, 100)
        debits = [debit_of(names[number % 3], 1) for number in range(40)]
        ledger = Ledger(narrow, EventHub(), ManualClock(), window_s=0.001)
        await post(ledger, [debit_of(names[0], 1)])  # a connection learns the types of its first one
        sent = await sent_on(narrow)
        await post(ledger, debits)
        await asyncio.sleep(0)  # the driver tells it soon
        assert [statement.split()[0] for statement in sent] == ["WITH"]
        sent.clear()
        async with get_db_context(narrow) as session:  # the way of a transaction, for comparison
            await LedgerRepository(session).debit(debits)
        await asyncio.sleep(0)
        assert sorted(statement.split()[0] for statement in sent) == ["BEGIN", "COMMIT;", "SELECT", "WITH"]
        await ledger.aclose()

    async def test_of_known_and_unknown_accounts_is_posted_whole(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 5)
        new = account + "2"
        told = await post(
            ledger, [debit_of(account, 2), debit_of(new, 1), debit_of(account, 4), debit_of(new, 1)]
        )
        assert told == [Balance(0, 3), Balance(0, 2), Balance(0, 3), Balance(0, 2)]
        assert await entries(database, account) == [("grant", 5, 0), ("debit", -2, 0), ("debit", -3, 1)]
        assert await entries(database, new) == [("debit", 0, 1)] * 2

    async def test_posted_again_changes_nothing(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 5)
        debits = [debit_of(account, 1), debit_of(account, 1)]
        assert await post(ledger, debits) == await post(ledger, debits) == [Balance(3 * CREDIT, 3)] * 2

    async def test_goes_through_a_pooler_too(self, postgres_url: str, account: str) -> None:
        database = Database(postgres_url + "&pgbouncer=true")
        ledger = Ledger(database, EventHub(), ManualClock(), window_s=0.001)
        await give(database, account, 5)
        debits = [debit_of(account, 1), debit_of(account, 1)]
        assert await post(ledger, debits) == [Balance(3 * CREDIT, 3)] * 2
        await ledger.aclose()
        await database.close()


@pytest.fixture
async def cache(store: ValkeyClient, clean_store: None) -> AsyncIterator[Cache]:
    """The process's cache."""
    cache = Cache(store, hub=EventHub())
    configure_cache(cache)
    yield cache
    configure_cache(None)
    await cache.close()


class TestKeptResults:
    @staticmethod
    async def spent(database: Database, account: str) -> Any:
        sql = "SELECT -sum(amount_micro) AS micro FROM credit_ledger WHERE kind = 'debit' AND account_id = :account"
        async with database.session() as session:
            return (await cached_db_query(session, sql, {"account": account}))[0]["micro"]

    @staticmethod
    async def users(database: Database) -> Any:
        async with database.session() as session:
            return (await cached_db_query(session, "SELECT count(*) AS n FROM users"))[0]["n"]

    async def test_of_the_ledger_end_with_a_batch_and_no_others(
        self, database: Database, ledger: Ledger, cache: Cache, account: str
    ) -> None:
        await give(database, account, 9)
        await post(ledger, [debit_of(account, 1)])
        assert (await self.spent(database, account), await self.users(database)) == (CREDIT, 0)
        async with database.connect() as connection:  # nobody is told, so that a kept number can be seen
            await connection.execute(
                text(
                    "INSERT INTO users (id, email, email_key, password_hash) VALUES (gen_random_uuid(), 'a@b.c', 'a@b.c', '')"
                )
            )
        await post(ledger, [debit_of(account, 1), debit_of(account, 2)])
        assert (await self.spent(database, account), await self.users(database)) == (4 * CREDIT, 0)


class TestMeanwhile:
    async def test_a_charge_that_another_transaction_posts_is_posted_once_and_the_others_count_from_it(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 6)
        same = debit_of(account, 5, "same")
        async with get_db_context(database) as session:
            await ledger.debit(session, same)
            batch = asyncio.create_task(
                post(ledger, [debit_of(account, 0.25), same._replace(micro=CREDIT), debit_of(account, 4)])
            )
            await until_a_session_waits(database)
        assert await batch == [Balance(0, 4)] * 3
        assert (await entries(database, account))[1:] == [
            ("debit", -5, 0),
            ("debit", -0.25, 0),
            ("debit", -0.75, 3.25),
        ]

    async def test_such_a_batch_is_refused_whole(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 6)
        same, other = debit_of(account, 1), debit_of(account, 1)
        async with get_db_context(database) as session:
            await ledger.debit(session, same)
            batch = asyncio.create_task(post_at_once(database, [other, same]))
            await until_a_session_waits(database)
        with pytest.raises(ConstraintViolated) as refused:
            await batch
        assert refused.value.constraint == "uq_credit_ledger_settlement_key"
        assert set(await ledger.settled([same.settlement_key, other.settlement_key])) == {same.settlement_key}

    async def test_charges_of_the_same_accounts_wait_for_each_other(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        await give(database, account, 6)
        async with get_db_context(database) as session:
            await ledger.debit(session, debit_of(account, 5))
            batch = asyncio.create_task(post(ledger, [debit_of(account, 2), debit_of(account, 1)]))
            await until_a_session_waits(database)
        assert await batch == [Balance(0, 4)] * 2
        assert (await entries(database, account))[1:] == [("debit", -5, 0), ("debit", -1, 1), ("debit", 0, 1)]

    async def test_batches_of_several_processes_that_overlap_are_each_posted_once(
        self, database: Database, account: str
    ) -> None:
        names = [f"{account}{number}" for number in range(4)]
        for name in names[1:]:  # one is unknown
            await give(database, name, 20)
        ledgers = [Ledger(database, EventHub(), ManualClock(), window_s=0.001) for _ in range(6)]
        debits = [debit_of(names[number % 4], 1) for number in range(60)]
        await asyncio.gather(
            *(
                post(ledger, (debits if number % 2 else debits[::-1])[number * 5 : number * 5 + 40])
                for number, ledger in enumerate(ledgers)
            ),
            *(charge(database, ledgers[0], debit) for debit in debits[20:40:3]),
        )
        for ledger in ledgers:
            await ledger.aclose()
        for name in names[1:]:
            posted = (await entries(database, name))[1:]
            assert posted == [("debit", -1, 0)] * 15
        assert await entries(database, names[0]) == [("debit", 0, 1)] * 15
