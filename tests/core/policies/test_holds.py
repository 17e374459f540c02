"""The book of balances and holds, against accounts written as ADMIT writes them."""

import asyncio
import time
from collections.abc import Iterable

import pytest

from app.core.policies import CREDIT, Admitter, Ask, Balance, Verdict
from app.core.policies._holds import ACCOUNTS_KEY, HOLD_SCRIPTS, MOST_MICRO, ExpiredHold, HoldBook
from app.core.policies._terms import account_key
from app.core.resilience import SystemClock
from app.core.valkey import StoreDown, ValkeyClient
from tests.core.policies.asking import ALICE as CALLER
from tests.core.policies.asking import NO_LIMITS
from tests.core.policies.asking import hold as asked
from tests.servers import PrivateServer

ALICE = "alice"


async def server_ms(store: ValkeyClient) -> int:
    seconds, micros = await store.execute("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def hold(
    store: ValkeyClient, account: str, rid: str, micro: int, *, in_ms: int = -1, key: str = ""
) -> None:
    """What ADMIT does, for an account that is loaded."""
    value = f"{micro} {await server_ms(store) + in_ms} {key or 'k:' + rid}"
    await store.execute("HSET", account_key(account), "r" + rid, value)
    await store.execute("HINCRBY", account_key(account), "h", micro)


async def state(store: ValkeyClient, account: str = ALICE) -> dict[str, int]:
    fields = await store.execute("HMGET", account_key(account), "b", "v", "h")
    return {name: int(value) for name, value in zip("bvh", fields, strict=True) if value is not None}


async def pages(book: HoldBook) -> set[str]:
    return {account async for page in book.accounts() for account in page}


@pytest.fixture
def book(store: ValkeyClient, clean_store: None) -> HoldBook:
    return HoldBook(store)


class TestLoad:
    async def test_a_cold_account_is_there_listed_and_lives_an_hour(
        self, book: HoldBook, store: ValkeyClient
    ) -> None:
        assert await book.load(ALICE, Balance(10, 3))
        assert await state(store) == {"b": 10, "v": 3, "h": 0}
        assert await pages(book) == {ALICE}
        assert 3_500_000 < await store.execute("PTTL", account_key(ALICE)) <= 3_600_000
        assert 0 < await store.execute("PTTL", ACCOUNTS_KEY) <= 86_400_000

    @pytest.mark.parametrize(("version", "expected"), [(2, 10), (3, 10), (4, 99)])
    async def test_only_a_newer_balance_replaces_what_is_there(
        self, book: HoldBook, store: ValkeyClient, version: int, expected: int
    ) -> None:
        await book.load(ALICE, Balance(10, 3))
        assert await book.load(ALICE, Balance(99, version)) is (expected == 99)
        assert (await state(store))["b"] == expected

    async def test_holds_stay_and_their_sum_is_counted_anew(
        self, book: HoldBook, store: ValkeyClient
    ) -> None:
        await book.load(ALICE, Balance(10, 3))
        await hold(store, ALICE, "1", 4)
        await store.execute("HSET", account_key(ALICE), "h", 7_000)  # wrong, however that came
        await book.load(ALICE, Balance(12, 4))
        assert await state(store) == {"b": 12, "v": 4, "h": 4}

    @pytest.mark.parametrize("micro", [2**53 - 1, 1_795_239_412_950_123, 0])
    async def test_large_balances_keep_every_digit(
        self, book: HoldBook, store: ValkeyClient, micro: int
    ) -> None:
        await book.load(ALICE, Balance(micro, 1))
        await hold(store, ALICE, "1", micro)
        await book.load(ALICE, Balance(micro, 2))
        assert await state(store) == {"b": micro, "v": 2, "h": micro}

    @pytest.mark.parametrize("micro", [MOST_MICRO + 1, -1])
    async def test_a_balance_that_lua_cannot_count_is_refused(self, book: HoldBook, micro: int) -> None:
        with pytest.raises(ValueError, match="balance"):
            await book.load(ALICE, Balance(micro, 1))

    @pytest.mark.parametrize("account", ["}x{evil}", "a b", "é", "{}", "x" * 300])
    async def test_no_account_name_leaves_its_slot(
        self, book: HoldBook, store: ValkeyClient, account: str
    ) -> None:
        await book.load(account, Balance(10, 1))
        assert await state(store, account) == {"b": 10, "v": 1, "h": 0}
        assert await pages(book) == {account}
        assert account_key(account).count("{") == 1


class TestSync:
    async def test_an_account_that_is_not_there_stays_away(self, book: HoldBook, store: ValkeyClient) -> None:
        assert not await book.sync(ALICE, Balance(10, 3))
        assert await state(store) == {}

    async def test_a_newer_balance_arrives_during_holds(self, book: HoldBook, store: ValkeyClient) -> None:
        await book.load(ALICE, Balance(10, 3))
        await hold(store, ALICE, "1", 10)
        assert await book.sync(ALICE, Balance(30, 4))
        assert not await book.sync(ALICE, Balance(10, 3))
        assert await state(store) == {"b": 30, "v": 4, "h": 10}

    async def test_a_ledger_that_lost_its_tail_is_put_back_over_that_version_only(
        self, book: HoldBook, store: ValkeyClient
    ) -> None:
        await book.load(ALICE, Balance(10, 9))
        assert not await book.put_back(ALICE, Balance(20, 7), over=8)
        assert await book.put_back(ALICE, Balance(20, 7), over=9)
        assert await state(store) == {"b": 20, "v": 7, "h": 0}


class TestExpired:
    async def test_names_what_is_over_and_takes_nothing_away(
        self, book: HoldBook, store: ValkeyClient
    ) -> None:
        await book.load(ALICE, Balance(100, 1))
        await hold(store, ALICE, "over", 4, key="i:{u:alice}:v1:i:p:h:7")
        await hold(store, ALICE, "running", 5, in_ms=60_000)
        for _ in range(2):
            assert await book.expired(ALICE) == (ExpiredHold("over", 4, "i:{u:alice}:v1:i:p:h:7"),)
            assert (await book.overdue(ALICE)).open == 2
        assert await book.held(ALICE) == 9

    async def test_comes_in_portions(self, book: HoldBook, store: ValkeyClient) -> None:
        await book.load(ALICE, Balance(100, 1))
        for number in range(5):
            await hold(store, ALICE, str(number), 1)
        assert len((await book.overdue(ALICE, most=2)).holds) == 2
        assert (await book.overdue(ALICE, most=2)).open == 5
        assert len((await book.overdue(ALICE)).holds) == 5

    async def test_an_account_that_is_not_there_has_none(self, book: HoldBook) -> None:
        assert await book.overdue(ALICE) == (None, (), 0)
        assert await book.held(ALICE) == 0

    async def test_by_the_servers_clock(self, book: HoldBook, store: ValkeyClient) -> None:
        await book.load(ALICE, Balance(100, 1))
        await hold(store, ALICE, "1", 4, in_ms=150)
        assert await book.expired(ALICE) == ()
        end = time.monotonic() + 5
        while not await book.expired(ALICE):
            assert time.monotonic() < end


class TestFree:
    async def test_twice_is_once(self, book: HoldBook, store: ValkeyClient) -> None:
        await book.load(ALICE, Balance(100, 1))
        await hold(store, ALICE, "1", 4)
        await hold(store, ALICE, "2", 5)
        assert [await book.free(ALICE, "1") for _ in range(2)] == [4, None]
        assert await state(store) == {"b": 100, "v": 1, "h": 5}

    @pytest.mark.parametrize(("version", "expected"), [(2, 96), (1, 100), (0, 100)])
    async def test_with_the_balance_after_its_charge_if_that_is_newer(
        self, book: HoldBook, store: ValkeyClient, version: int, expected: int
    ) -> None:
        await book.load(ALICE, Balance(100, 1))
        await hold(store, ALICE, "1", 4)
        assert await book.free(ALICE, "1", Balance(96, version)) == 4
        assert (await state(store))["b"] == expected
        assert (await state(store))["h"] == 0

    async def test_of_an_account_that_is_gone_writes_nothing(
        self, book: HoldBook, store: ValkeyClient
    ) -> None:
        assert await book.free(ALICE, "1", Balance(96, 2)) is None
        assert await store.execute("EXISTS", account_key(ALICE)) == 0

    async def test_a_wrong_sum_never_goes_below_zero(self, book: HoldBook, store: ValkeyClient) -> None:
        await book.load(ALICE, Balance(100, 1))
        await hold(store, ALICE, "1", 4)
        await store.execute("HSET", account_key(ALICE), "h", 1)
        await book.free(ALICE, "1")
        assert await book.held(ALICE) == 0


class TestAccounts:
    async def test_all_come_however_many(self, book: HoldBook) -> None:
        names = {f"user{number}" for number in range(1200)}
        for name in names:
            await book.load(name, Balance(1, 1))
        assert await pages(book) == names

    async def test_only_those_listed_long_ago_are_forgotten(
        self, book: HoldBook, store: ValkeyClient
    ) -> None:
        for name in (ALICE, "bob", "carol"):
            await book.load(name, Balance(1, 1))
        for name in (ALICE, "bob"):
            await store.execute("ZADD", ACCOUNTS_KEY, await server_ms(store) - 61_000, name)
        await book.load("bob", Balance(1, 1))
        assert await book.forget([ALICE, "bob", "carol", "nobody"]) == 1
        assert await book.forget([]) == 0
        assert await pages(book) == {"bob", "carol"}


async def fill(store: ValkeyClient, names: Iterable[str]) -> None:
    for name in names:
        await store.execute("SET", name, "x" * 100_000)


async def test_a_full_server_still_frees_and_syncs(private_valkey: PrivateServer) -> None:
    store = ValkeyClient(private_valkey.url, timeout_s=2.0)
    book = HoldBook(store)
    await book.load(ALICE, Balance(100, 1))
    await hold(store, ALICE, "1", 4)
    await store.execute("CONFIG", "SET", "maxmemory", "3000000")
    with pytest.raises(StoreDown):
        await fill(store, (f"filler{number}" for number in range(100)))
    assert await book.sync(ALICE, Balance(90, 2))
    assert await book.free(ALICE, "1") == 4
    assert await state(store) == {"b": 90, "v": 2, "h": 0}
    await store.close()


@pytest.mark.parametrize("script", HOLD_SCRIPTS, ids=lambda script: script.name)
def test_scripts_declare_themselves(script: object) -> None:
    assert str(getattr(script, "source", "")).startswith("#!lua flags=")


class TestWithAdmit:
    """What ADMIT and SETTLE write is what the book reads, and the other way round."""

    async def test_a_cold_account_is_loaded_held_found_and_freed(
        self, book: HoldBook, store: ValkeyClient
    ) -> None:
        admitter, question = Admitter(store, clock=SystemClock()), Ask(hold=asked(4, key="k", lease_ms=1))
        assert (await admitter.admit(NO_LIMITS, CALLER, ask=question)).verdict is Verdict.COLD
        await book.load(ALICE, Balance(10 * CREDIT, 1))
        admission = await admitter.admit(NO_LIMITS, CALLER, ask=question)
        assert admission.verdict is Verdict.ADMITTED
        assert await state(store) == {"b": 10 * CREDIT, "v": 1, "h": 4 * CREDIT}
        await until_over(book)
        assert await book.expired(ALICE) == (ExpiredHold(admission.rid, 4 * CREDIT, "k"),)
        assert await book.free(ALICE, admission.rid, Balance(6 * CREDIT, 2)) == 4 * CREDIT
        await admitter.settle(admission, None, Balance(6 * CREDIT, 2))  # late
        assert await state(store) == {"b": 6 * CREDIT, "v": 2, "h": 0}

    async def test_what_was_settled_is_not_there_to_free(self, book: HoldBook, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await book.load(ALICE, Balance(10 * CREDIT, 1))
        admission = await admitter.admit(NO_LIMITS, CALLER, ask=Ask(hold=asked(4)))
        await admitter.settle(admission, None, Balance(7 * CREDIT, 2))
        assert await book.free(ALICE, admission.rid) is None
        assert await state(store) == {"b": 7 * CREDIT, "v": 2, "h": 0}


class TestLife:
    """An account outlives its longest hold by a minute, whatever is written to it meanwhile."""

    LEASE_MS = 2 * 3_600_000

    async def test_a_long_hold_keeps_its_account(self, book: HoldBook, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await book.load(ALICE, Balance(10 * CREDIT, 1))
        await admitter.admit(NO_LIMITS, CALLER, ask=Ask(hold=asked(1, key="long", lease_ms=self.LEASE_MS)))
        other = await admitter.admit(NO_LIMITS, CALLER, ask=Ask(hold=asked(1, key="short")))
        await admitter.settle(other, None, Balance(9 * CREDIT, 2))
        await book.free(ALICE, other.rid)
        await book.sync(ALICE, Balance(8 * CREDIT, 3))
        await book.load(ALICE, Balance(7 * CREDIT, 4))
        left = await store.execute("PTTL", account_key(ALICE))
        assert self.LEASE_MS + 50_000 < left <= self.LEASE_MS + 60_000

    async def test_so_does_one_that_is_renewed_for_long(self, book: HoldBook, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await book.load(ALICE, Balance(10 * CREDIT, 1))
        admission = await admitter.admit(NO_LIMITS, CALLER, ask=Ask(hold=asked(1)))
        assert await admitter.extend(admission, self.LEASE_MS)
        left = await store.execute("PTTL", account_key(ALICE))
        assert self.LEASE_MS + 50_000 < left <= self.LEASE_MS + 60_000

    async def test_each_write_renews_the_hour(self, book: HoldBook, store: ValkeyClient) -> None:
        admitter = Admitter(store, clock=SystemClock())
        await book.load(ALICE, Balance(10 * CREDIT, 1))

        async def left() -> int:
            life: int = await store.execute("PTTL", account_key(ALICE))
            await store.execute("PEXPIRE", account_key(ALICE), 1_000_000)
            return life

        await left()
        admission = await admitter.admit(NO_LIMITS, CALLER, ask=Ask(hold=asked(1)))
        lives = [await left()]
        await admitter.extend(admission, 10_000)
        lives.append(await left())
        await admitter.settle(admission)
        lives.append(await left())
        await book.sync(ALICE, Balance(8 * CREDIT, 3))
        lives.append(await left())
        await book.free(ALICE, "nobody")
        lives.append(await left())
        assert all(3_500_000 < life <= 3_600_000 for life in lives), lives


async def until_over(book: HoldBook) -> None:
    for _ in range(1000):
        if await book.expired(ALICE):
            return
        await asyncio.sleep(0.001)
