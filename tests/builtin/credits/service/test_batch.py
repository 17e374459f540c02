"""Charges after the answer: together, again when the database was away, never lost by a clean stop."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from app.builtin.credits.service import DebitBatch, Ledger
from app.core.db import ConstraintViolated, Database, DatabaseUnavailable, SerializationFailure
from app.core.observability import CreditEvent, EventHub
from app.core.policies import CREDIT, Balance, Debit
from app.core.resilience import ManualClock
from tests.builtin.credits.books import Events, check_books, debit_of, entries, give, until

PATIENCE_S = 10.0


class Poster:
    """A database that fails as told, and remembers what it was asked."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.batches: list[list[str]] = []
        self.refused: set[str] = set()
        self.gate: asyncio.Event | None = None

    async def __call__(self, debits: Sequence[Debit]) -> Mapping[str, Balance]:
        self.batches.append([debit.settlement_key for debit in debits])
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        if self.refused & {debit.settlement_key for debit in debits}:
            raise ConstraintViolated("no")
        return {debit.account: Balance(len(self.batches), len(self.batches)) for debit in debits}


class Told(dict[str, Balance]):
    """Who was told which balance."""

    def of(self, debit: Debit) -> Callable[[Balance], None]:
        def done(balance: Balance) -> None:
            self[debit.settlement_key] = balance

        return done


def batch_of(post: Any, events: Events, clock: ManualClock | None = None, **options: Any) -> DebitBatch:
    hub = EventHub()
    hub.subscribe(CreditEvent, events.take)
    options = {"window_s": 0.001, "pause_s": 0.0, **options}
    return DebitBatch(post, hub, clock or ManualClock(), **options)


def add(batch: DebitBatch, told: Told, *keys: str) -> None:
    for key in keys:
        debit = debit_of("a", 1, key)
        batch.add(debit, told.of(debit))


async def test_what_comes_at_once_is_posted_at_once(events: Events) -> None:
    poster, told = Poster(), Told()
    batch = batch_of(poster, events)
    add(batch, told, "1", "2", "3")
    await until(lambda: len(told) == 3)
    assert poster.batches == [["1", "2", "3"]]
    assert events.count("posted") == 3


async def test_a_full_batch_does_not_wait_for_its_window(events: Events) -> None:
    poster, told = Poster(), Told()
    batch = batch_of(poster, events, window_s=3600, per_batch=2)
    add(batch, told, "1", "2")
    await until(lambda: len(told) == 2)
    assert poster.batches == [["1", "2"]]


async def test_after_a_pause_it_begins_again(events: Events) -> None:
    poster, told = Poster(), Told()
    batch = batch_of(poster, events)
    for key in ("1", "2"):
        add(batch, told, key)
        await until(lambda key=key: key in told)  # type: ignore[misc]
    assert poster.batches == [["1"], ["2"]]


@pytest.mark.parametrize("error", [DatabaseUnavailable(), SerializationFailure()])
async def test_after_an_outage_it_is_posted_again_in_order(events: Events, error: Exception) -> None:
    poster, told = Poster(error, error), Told()
    batch = batch_of(poster, events)
    add(batch, told, "1", "2")
    await until(lambda: len(told) == 2)
    assert poster.batches == [["1", "2"]] * 3
    assert (events.count("delayed"), events.count("posted"), events.count("dropped")) == (4, 2, 0)


async def test_an_outage_that_lasts_too_long_drops_it_and_says_so(events: Events) -> None:
    poster, told, clock = Poster(*[DatabaseUnavailable() for _ in range(100_000)]), Told(), ManualClock()
    batch = batch_of(poster, events, clock, patience_s=60, pause_s=0.001)
    add(batch, told, "1")
    await until(lambda: len(poster.batches) > 2)
    assert events.count("dropped") == 0
    clock.advance(61)
    await until(lambda: len(batch) == 0)
    assert events.count("dropped") == 1
    assert told == {}


async def test_one_that_the_database_refuses_does_not_hold_up_the_others(events: Events) -> None:
    poster, told = Poster(), Told()
    poster.refused = {"2"}
    batch = batch_of(poster, events)
    add(batch, told, "1", "2", "3")
    await until(lambda: len(told) == 2)
    assert set(told) == {"1", "3"}
    assert (events.count("posted"), events.count("dropped")) == (2, 1)


async def test_an_outage_while_they_go_one_by_one_loses_none(events: Events) -> None:
    poster, told = Poster(ConstraintViolated("no"), DatabaseUnavailable()), Told()
    batch = batch_of(poster, events)
    add(batch, told, "1", "2", "3")
    await until(lambda: len(told) == 3)
    assert events.count("dropped") == 0


async def test_one_who_cannot_be_told_does_not_disturb_the_others(events: Events) -> None:
    poster, told = Poster(), Told()
    batch = batch_of(poster, events)

    def fails(_: Balance) -> None:
        raise RuntimeError("no")

    batch.add(debit_of("a", 1, "1"), fails)
    add(batch, told, "2")
    await until(lambda: "2" in told)
    add(batch, told, "3")
    await until(lambda: "3" in told)
    assert poster.batches == [["1", "2"], ["3"]]


async def test_what_does_not_fit_is_dropped_at_once(events: Events) -> None:
    batch = batch_of(Poster(), events, most=2, window_s=3600)
    add(batch, Told(), "1", "2", "3")
    assert (len(batch), events.count("dropped")) == (2, 1)
    await batch.aclose()


class TestStop:
    async def test_loses_nothing_and_does_not_wait_for_the_window(self, events: Events) -> None:
        poster, told = Poster(), Told()
        batch = batch_of(poster, events, window_s=3600)
        add(batch, told, "1", "2")
        await asyncio.wait_for(batch.aclose(), PATIENCE_S)
        assert set(told) == {"1", "2"}

    async def test_waits_for_a_batch_in_progress(self, events: Events) -> None:
        poster, told = Poster(), Told()
        poster.gate = asyncio.Event()
        batch = batch_of(poster, events)
        add(batch, told, "1")
        await until(lambda: len(poster.batches) == 1)
        stopping = asyncio.create_task(batch.aclose())
        await asyncio.sleep(0)
        poster.gate.set()
        await stopping
        assert set(told) == {"1"}

    async def test_gives_up_at_its_limit_and_says_what_was_lost(self, events: Events) -> None:
        poster, told = Poster(), Told()
        poster.gate = asyncio.Event()
        batch = batch_of(poster, events)
        add(batch, told, "1", "2")
        await until(lambda: len(poster.batches) == 1)
        add(batch, told, "3")
        await batch.aclose(limit_s=0.01)
        assert (events.count("dropped"), len(batch), told) == (3, 0, {})

    async def test_of_one_that_had_nothing_to_do_is_nothing(self, events: Events) -> None:
        await batch_of(Poster(), events).aclose()
        assert events == []


class TestOnPostgres:
    async def test_debits_of_several_accounts_are_posted_and_told(
        self, database: Database, ledger: Ledger, account: str
    ) -> None:
        other, told = account + "2", Told()
        for name in (account, other):
            await give(database, name, 10)
        debits = [debit_of(account, 1), debit_of(other, 2), debit_of(account, 3)]
        for debit in [*debits, debits[0]]:  # one of them twice
            ledger.debit_later(debit, told.of(debit))
        await until(lambda: len(told) == 3)
        assert told[debits[0].settlement_key] == told[debits[2].settlement_key] == Balance(6 * CREDIT, 3)
        assert told[debits[1].settlement_key] == Balance(8 * CREDIT, 2)
        assert len(await entries(database, account)) == 3
        await check_books(database)

    async def test_a_negative_debit_is_refused_at_once(self, ledger: Ledger, account: str) -> None:
        with pytest.raises(ValueError, match="negative"):
            ledger.debit_later(debit_of(account, -1), Told().of(debit_of(account, 1)))

    async def test_a_value_that_postgres_cannot_store_does_not_hold_up_the_others(
        self, database: Database, ledger: Ledger, account: str, events: Events
    ) -> None:
        told = Told()
        for key in ("good", "bad\x00", "also good"):
            debit = debit_of(account, 1, key)
            ledger.debit_later(debit, told.of(debit))
        await until(lambda: len(told) == 2)
        assert (set(told), events.count("dropped")) == ({"good", "also good"}, 1)
