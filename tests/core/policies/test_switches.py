"""The kill switch: what processes know, through outages, flushes and restarts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from app.core.errors import Unavailable
from app.core.policies import Board, EndpointDisabled, Switch, Switches
from app.core.policies._switches import KEY
from app.core.valkey import StoreError, ValkeyClient

pytestmark = pytest.mark.usefixtures("clean_store")


def off(name: str, state: str = "off", at: str = "2026-01-01T00:00:00Z") -> Switch:
    return Switch(name, state, "too many errors", "admin", at)


def board(version: int, *names: str) -> Board:
    return Board(version, tuple(off(name) for name in names))


@pytest.fixture
async def dead() -> AsyncIterator[ValkeyClient]:
    client = ValkeyClient("valkey://127.0.0.1:1/0", timeout_s=0.1)
    yield client
    await client.close()


async def known(switches: Switches) -> Switches:
    await switches.refresh()
    return switches


async def test_what_one_process_publishes_another_knows(store: ValkeyClient) -> None:
    here, there = Switches(store), Switches(store)
    await here.publish(board(1, "records_get"))
    assert here.of("records_get") == off("records_get")
    assert there.refusal("records_get") is None
    await there.refresh()
    assert there.of("records_get") == off("records_get")
    refusal = there.refusal("records_get")
    assert isinstance(refusal, EndpointDisabled)
    assert (refusal.status, refusal.headers["Retry-After"]) == (503, "60")
    assert refusal.extensions == {"policy": "records_get", "reason": "endpoint_disabled"}
    assert "too many errors" not in str(refusal)
    assert there.refusal("records_list") is None


async def test_what_is_switched_on_again_is_forgotten(store: ValkeyClient) -> None:
    switches = Switches(store)
    await switches.publish(board(1, "a", "b"))
    await switches.publish(board(2, "b"))
    other = await known(Switches(store))
    assert (other.of("a"), other.of("b")) == (None, off("b"))


async def test_an_older_state_never_replaces_a_newer_one(store: ValkeyClient) -> None:
    switches, late = Switches(store), Switches(store)
    await switches.publish(board(5, "a"))
    await late.publish(board(4))
    assert (await known(Switches(store))).of("a")
    switches.take(board(4))
    assert switches.of("a")


async def test_the_same_state_may_be_published_again(store: ValkeyClient) -> None:
    await Switches(store).publish(board(5, "a"))
    await store.execute("PEXPIRE", KEY, "1000")
    await Switches(store).publish(board(5, "a"))
    assert int(await store.execute("PTTL", KEY)) > 500_000


async def test_a_flush_switches_nothing_on(store: ValkeyClient) -> None:
    switches = Switches(store)
    await switches.publish(board(1, "a"))
    await store.execute("FLUSHDB")
    await switches.refresh()
    assert switches.of("a")
    await switches.publish(board(1, "a"))
    assert (await known(Switches(store))).of("a")


async def test_a_table_without_switches_is_a_state_as_well(store: ValkeyClient) -> None:
    switches = Switches(store)
    await switches.publish(board(1, "a"))
    await Switches(store).publish(board(2))
    await switches.refresh()
    assert switches.of("a") is None


class TestSource:
    async def test_a_process_that_starts_after_a_flush_asks_the_table(self, store: ValkeyClient) -> None:
        asked = []

        async def table() -> Board:
            asked.append(1)
            return board(7, "a")

        switches = Switches(store, source=table)
        await switches.refresh()
        assert switches.of("a")
        await switches.refresh()
        assert len(asked) == 1

    async def test_a_process_that_starts_while_the_store_is_down_asks_the_table(
        self, dead: ValkeyClient
    ) -> None:
        async def table() -> Board:
            return board(7, "a")

        switches = Switches(dead, source=table)
        await switches.refresh()
        assert switches.of("a")
        with pytest.raises(StoreError):
            await switches.refresh()
        assert switches.of("a")

    async def test_when_nobody_knows_the_start_goes_on(self, dead: ValkeyClient) -> None:
        async def table() -> Board:
            raise Unavailable

        switches = Switches(dead, source=table)
        await switches.start()
        assert switches.refusal("a") is None
        await switches.stop()

    async def test_the_store_is_believed_before_the_table(self, store: ValkeyClient) -> None:
        async def table() -> Board:
            raise AssertionError("not asked")

        await Switches(store).publish(board(3, "a"))
        assert (await known(Switches(store, source=table))).of("a")


async def test_publishing_in_an_outage_holds_in_this_process_and_says_so(dead: ValkeyClient) -> None:
    switches = Switches(dead)
    with pytest.raises(StoreError):
        await switches.publish(board(1, "a"))
    assert switches.of("a")


class TestLoop:
    async def test_it_looks_again_and_again_until_it_is_stopped(self, store: ValkeyClient) -> None:
        turns: asyncio.Queue[float] = asyncio.Queue()
        slept: asyncio.Queue[None] = asyncio.Queue()

        async def sleep(seconds: float) -> None:
            await turns.put(seconds)
            await slept.get()

        switches = Switches(store, sleep=sleep)
        await switches.start()
        assert await turns.get() == 0.4
        await Switches(store).publish(board(1, "a"))
        await slept.put(None)
        await turns.get()
        assert switches.of("a")
        await switches.stop()
        await switches.stop()
        assert switches.of("a")

    async def test_what_nobody_can_read_ends_no_loop(self, store: ValkeyClient) -> None:
        turns: asyncio.Queue[None] = asyncio.Queue()
        slept: asyncio.Queue[None] = asyncio.Queue()

        async def sleep(_: float) -> None:
            await turns.put(None)
            await slept.get()

        await store.execute("HSET", KEY, "@", "1", "a", "nonsense")
        switches = Switches(store, sleep=sleep)
        await switches.start()
        await Switches(store).publish(board(2, "a"))
        for _ in range(2):
            await turns.get()
            await slept.put(None)
        await turns.get()
        assert switches.of("a")
        await switches.stop()


async def test_breakers_are_set_once_for_each_change(store: ValkeyClient) -> None:
    told: list[tuple[str, str]] = []
    switches = Switches(store, on_breaker=lambda *change: told.append(change))
    isolated = off("breaker:weather", "isolated")
    await Switches(store).publish(Board(1, (isolated, off("a"))))
    await switches.refresh()
    await switches.refresh()
    assert told == [("weather", "isolated")]
    assert switches.of_breaker("weather") == isolated
    closed = [off("breaker:weather", "closed", at) for at in ("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z")]
    for version, switch in enumerate(closed, 2):
        switches.take(Board(version, (switch,)))
    switches.take(Board(9))
    assert told[1:] == [("weather", "closed"), ("weather", "closed"), ("weather", "auto")]
    assert switches.of_breaker("weather") is None


async def test_it_lives_in_one_hash_with_an_end(store: ValkeyClient) -> None:
    await Switches(store).publish(board(1, "a"))
    assert await store.execute("KEYS", "*") == [KEY.encode()]
    assert 0 < int(await store.execute("PTTL", KEY)) <= 600_000


@pytest.mark.parametrize(
    "foreign", [("RPUSH", KEY, "x"), ("SET", KEY, "x"), ("HSET", KEY, "x", "y"), ("HSET", KEY, "@", "x")]
)
async def test_what_somebody_else_wrote_there_says_nothing_and_is_replaced(
    store: ValkeyClient, foreign: tuple[str, ...]
) -> None:
    here, there = Switches(store), Switches(store)
    await here.publish(board(1, "a"))
    await there.refresh()
    await store.execute("DEL", KEY)
    await store.execute(*foreign)
    with suppress(StoreError, ValueError):  # the loop goes on, whichever it is
        await there.refresh()
    assert there.of("a") == off("a")
    await here.publish(board(2, "b"))
    await there.refresh()
    assert (there.of("a"), there.of("b")) == (None, off("b"))


async def test_a_process_that_starts_then_asks_the_table(store: ValkeyClient) -> None:
    async def source() -> Board:
        return board(7, "a")

    await store.execute("RPUSH", KEY, "x")
    assert (await known(Switches(store, source=source))).of("a") == off("a")
