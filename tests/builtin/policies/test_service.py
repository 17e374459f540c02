"""Switches in the table, and what operators see of policies."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from app.builtin.policies.repository import SwitchRepository
from app.builtin.policies.service import SwitchBoard, read_board, set_by_hand
from app.core.db import Database
from app.core.policies import Board, Breaker, Switches
from app.core.resilience import Breakers
from app.core.valkey import ValkeyClient

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")


@pytest.fixture
def switches(store: ValkeyClient) -> Switches:
    return Switches(store)


@pytest.fixture
def board(database: Database, switches: Switches) -> SwitchBoard:
    return SwitchBoard(database, switches)


@pytest.fixture
async def dead() -> AsyncIterator[ValkeyClient]:
    client = ValkeyClient("valkey://127.0.0.1:1/0", timeout_s=0.1)
    yield client
    await client.close()


async def test_a_switch_stands_in_the_table_and_in_the_store(
    board: SwitchBoard, database: Database, store: ValkeyClient
) -> None:
    switch, published = await board.set("records_get", "off", "too slow", "admin")
    assert published
    assert switch[:4] == ("records_get", "off", "too slow", "admin")
    assert (await read_board(database)).switches == (switch,)
    other = Switches(store)
    await other.refresh()
    assert other.of("records_get") == switch


async def test_switched_on_again_it_is_no_switch_and_the_version_grows(
    board: SwitchBoard, database: Database
) -> None:
    await board.set("records_get", "off", "too slow", "admin")
    first = await read_board(database)
    await board.set("records_get", "on", "mended", "admin")
    second = await read_board(database)
    assert (len(first.switches), second.switches) == (1, ())
    assert 0 < first.version < second.version


async def test_an_empty_table_has_version_0(database: Database) -> None:
    assert await read_board(database) == Board(0)


async def test_a_store_that_is_down_is_told_and_later_healed(
    database: Database, dead: ValkeyClient, store: ValkeyClient
) -> None:
    here = Switches(dead)
    switch, published = await SwitchBoard(database, here).set("records_get", "off", "too slow", "admin")
    assert not published
    assert here.of("records_get") == switch
    await SwitchBoard(database, Switches(store)).reassert()
    there = Switches(store)
    await there.refresh()
    assert there.of("records_get") == switch


async def test_many_writers_at_once_leave_the_newest_state_everywhere(
    database: Database, store: ValkeyClient
) -> None:
    boards = [SwitchBoard(database, Switches(store)) for _ in range(4)]
    await asyncio.gather(
        *(
            boards[i % 4].set(f"policy_{i % 3}", "off" if i % 2 else "on", f"number {i}", "admin")
            for i in range(24)
        ),
        *(board.reassert() for board in boards),
    )
    table, process = await read_board(database), Switches(store)
    await process.refresh()
    for name in ("policy_0", "policy_1", "policy_2"):
        assert process.of(name) == next((it for it in table.switches if it.name == name), None)


async def test_versions_grow_though_the_clock_stands_behind_the_table(database: Database) -> None:
    async with database.session() as session:
        rows = SwitchRepository(session)
        await rows.put("a", "off", "x", "admin")
        await session.execute(text("UPDATE policy_switches SET version = version + 3600000000"))
        before = await rows.board()
        await rows.put("b", "off", "x", "admin")
        assert (await rows.board()).version == before.version + 1


def test_breakers_are_set_as_the_switch_says() -> None:
    breakers = Breakers()
    breaker = breakers.get(Breaker(dependency="weather", min_calls=1))
    set_by_hand(breakers, "weather", "isolated")
    assert breaker.snapshot().state == "isolated"
    set_by_hand(breakers, "weather", "auto")
    assert (breaker.snapshot().state, breaker.snapshot().mode) == ("closed", "auto")
    leave = breaker.try_acquire()
    assert leave is not None
    leave.failed()
    assert breaker.snapshot().state == "open"
    set_by_hand(breakers, "weather", "closed")
    assert breaker.snapshot().state == "closed"
    set_by_hand(breakers, "unknown", "isolated")
    assert breakers.find("unknown") is None
