"""Credits at the gate after a request was let in: what fails is free, what succeeds is charged once, an outage is never 402."""

from collections.abc import Callable
from typing import Any

import pytest

from app.core.db import Database, DatabaseUnavailable
from app.core.policies import (
    CreditLedger,
    Idempotency,
    RateLimit,
    ResponseCache,
    set_cost,
)
from app.settings import Settings
from tests.core.http.gated import READER, WRITER
from tests.core.http.workshop import FAILURES, LONG, Workshop, debits, fund, priced

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


async def died_after_its_commit(shop: Workshop) -> None:
    """The claim of the one request as it stands when the lease of a process that was killed is over: its result was never told."""
    (key,) = await shop.keys("*:v1:i:*")
    _, fingerprint, generation = (await shop.stored("GET", key)).split(b"\n")[0].split(b" ")
    await shop.stored("SET", key, f"P {fingerprint.decode()} {int(generation)} 1 dead", "KEEPTTL")


class TestFailure:
    @pytest.mark.parametrize("settle", ["strict", "batched"])
    @pytest.mark.parametrize("failure", FAILURES)
    async def test_what_fails_is_free(
        self, settings: Settings, database: Database, failure: str, settle: str
    ) -> None:
        await fund(database, 2)
        shop = priced(2, settle=settle)
        shop.outcome, status = FAILURES[failure]
        async with shop.open(settings):
            assert (await shop.get()).status_code == status
            assert await shop.left() == (2, 0)
        assert await debits(database) == []

    async def test_a_wrong_body_is_free(self, settings: Settings, database: Database) -> None:
        await fund(database, 2)
        async with priced(2).open(settings) as shop:
            assert (await shop.post_nonsense()).status_code == 422
            assert await shop.left() == (2, 0)

    async def test_a_caller_who_leaves_is_not_charged(self, settings: Settings, database: Database) -> None:
        await fund(database, 2)
        async with priced(2).open(settings) as shop, shop.in_hand() as task:
            await shop.leave(task)
            assert await shop.left() == (2, 0)

    async def test_a_handler_that_is_not_done_in_time_is_free(
        self, settings: Settings, database: Database
    ) -> None:
        await fund(database, 2)
        shop = priced(2, timeout=0.01)
        shop.free.clear()
        async with shop.open(settings):
            assert (await shop.get()).status_code == 504
            assert await shop.left() == (2, 0)


class TestOnce:
    async def test_a_replay_is_free(self, settings: Settings, database: Database) -> None:
        await fund(database, 10)
        async with priced(2, idempotency=Idempotency()).open(settings) as shop:
            answers = [await shop.post(idempotency_key="k") for _ in range(3)]
            assert await shop.left() == (8, 0)
        assert [answer.status_code for answer in answers] == [200] * 3
        assert shop.runs == 1

    async def test_what_runs_again_under_its_key_is_charged_once(
        self, settings: Settings, database: Database
    ) -> None:
        await fund(database, 10)
        async with priced(2, idempotency=Idempotency()).open(settings) as shop:
            await shop.post(idempotency_key="k")
            await shop.stored("FLUSHDB")
            await shop.post(idempotency_key="k")
            assert await shop.left() == (8, 0)
        assert shop.runs == 2

    @pytest.mark.parametrize("settle", ["strict", "batched"])
    @pytest.mark.parametrize("way", ["flushed", "taken over"])
    @pytest.mark.parametrize("order", [1, -1])
    async def test_what_runs_again_on_another_day_is_charged_once_too(
        self, settings: Settings, database: Database, order: int, way: str, settle: str
    ) -> None:
        """Over midnight; and back over it, when the server's clock is put right."""
        await fund(database, 10)
        first, then = ("2099-05-05T23:59:59", "2099-05-06T00:00:01")[::order]
        shop = priced(2, settle=settle, idempotency=Idempotency(on_expired_claim="rerun"))
        shop.at(first)
        async with shop.open(settings):
            await shop.post(idempotency_key="k")
            await shop.settled()
            if way == "flushed":
                await shop.stored("FLUSHDB")
            else:
                await died_after_its_commit(shop)
            shop.at(then)
            await shop.post(idempotency_key="k")
        assert shop.runs == 2
        assert [amount for amount, _, _ in await debits(database)] == [2]

    async def test_a_cached_answer_is_free(self, settings: Settings, database: Database) -> None:
        await fund(database, 10)
        async with priced(2, cache=ResponseCache(ttl=60)).open(settings) as shop:
            assert await shop.statuses(3) == [200] * 3
            assert await shop.left() == (8, 0)
        assert shop.runs == 1

    async def test_a_batched_charge_is_in_the_ledger_when_the_service_has_stopped(
        self, settings: Settings, database: Database
    ) -> None:
        await fund(database, 10)
        async with priced(2, settle="batched").open(settings) as shop:
            assert await shop.statuses(3) == [200] * 3
        written = await debits(database)
        assert [amount for amount, _, _ in written] == [2] * 3
        assert len({key for _, _, key in written}) == 3

    async def test_a_batched_charge_is_what_the_handler_said(
        self, settings: Settings, database: Database
    ) -> None:
        await fund(database, 10)
        shop = priced(3, settle="batched")
        shop.outcome = lambda: set_cost(1)
        async with shop.open(settings):
            assert await shop.statuses(1) == [200]
        assert [amount for amount, _, _ in await debits(database)] == [1]

    async def test_credits_wait_for_a_batched_charge(self, settings: Settings, database: Database) -> None:
        await fund(database, 2)
        shop = priced(2, settle="batched")
        async with shop.open(settings, lambda platform: _hold_back(platform.services[CreditLedger])):
            assert await shop.statuses(2) == [200, 429]
            assert await shop.left() == (2, 2)


def _hold_back(ledger: Any) -> None:
    ledger.debit_later = lambda *_: None


class TestOutage:
    async def test_without_the_store_it_is_503_and_never_402(
        self, make_settings: Callable[..., Settings]
    ) -> None:
        async with priced(2).open(make_settings(valkey_url="valkey://127.0.0.1:1/0")) as shop:
            answer = await shop.get()
        assert (answer.status_code, answer.json()["reason"], shop.runs) == (503, "store_unavailable", 0)
        assert int(answer.headers["retry-after"]) >= 1
        assert "ratelimit" not in answer.headers

    async def test_without_the_ledger_an_unknown_account_is_503_and_never_402(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(_: str) -> None:
            raise DatabaseUnavailable

        async with priced(2).open(settings) as shop:
            monkeypatch.setattr(shop.platform.services[CreditLedger], "balance", away)
            answer = await shop.get()
        assert (answer.status_code, shop.runs) == (503, 0)

    async def test_after_a_flush_the_balance_is_that_of_the_ledger(
        self, settings: Settings, database: Database
    ) -> None:
        await fund(database, 5)
        async with priced(2).open(settings) as shop:
            assert (await shop.get()).status_code == 200
            await shop.stored("FLUSHDB")
            assert await shop.statuses(2) == [200, 402]
            assert await shop.left() == (1, 0)

    async def test_an_account_that_is_read_first_is_charged_to_its_limits_once(
        self, settings: Settings, database: Database
    ) -> None:
        await fund(database, 5)
        limit = RateLimit.fixed_window(limit=9, window=LONG)
        async with priced(2, rate_limit=limit).open(settings) as shop:
            assert '"user";r=8' in (await shop.get()).headers["ratelimit"]


async def test_credits_of_an_endpoint_are_debited_from_the_account_that_asked(
    settings: Settings, database: Database
) -> None:
    await fund(database, 2)
    await fund(database, 2, WRITER)
    async with priced(2).open(settings) as shop:
        await shop.get(who=WRITER)
        assert await shop.left(READER) == (2, 0)
        assert await shop.left(WRITER) == (0, 0)
