"""What the process has in hand: turns between the stages of requests."""

import asyncio

import pytest
from starlette.types import Message, Scope

from app.core.db import Database
from app.core.http import TrafficControl
from app.core.policies import Concurrency
from app.settings import Settings
from tests.core.http.gated import READER, as_
from tests.core.http.workshop import debits, fund, priced


async def stages(traffic: TrafficControl, number: int, seen: list[str]) -> None:
    for stage in "abc":
        await traffic.turn()
        seen.append(f"{stage}{number}")


@pytest.mark.parametrize(
    ("in_flight", "order"),
    [(4, ["a0", "a1", "b0", "b1", "c0", "c1"]), (3, ["a0", "b0", "c0", "a1", "b1", "c1"])],
    ids=["in a crowd all come to a stage before one goes on", "a few do not wait for one another"],
)
async def test_who_takes_turns(in_flight: int, order: list[str]) -> None:
    traffic = TrafficControl()
    traffic.in_flight = in_flight
    seen: list[str] = []
    async with asyncio.TaskGroup() as group:
        for number in range(2):
            group.create_task(stages(traffic, number, seen))
    assert seen == order


@pytest.mark.usefixtures("clean_store", "clean_database")
async def test_who_is_cancelled_when_his_answer_is_out_has_paid_and_holds_nothing(
    settings: Settings, database: Database
) -> None:
    await fund(database, 10)
    async with priced(settle="batched", concurrency=Concurrency(max=1)).open(settings) as shop:
        shop.platform.traffic.in_flight += 4
        sent: list[str] = []

        async def send(message: Message) -> None:
            sent.append(message["type"])
            if message["type"] == "http.response.body":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()

        task = asyncio.create_task(shop.app(scope_of("/work"), nothing_more, send))
        await asyncio.wait([task])
        assert (task.cancelled(), sent) == (True, ["http.response.start", "http.response.body"])
        shop.platform.traffic.in_flight -= 4
        assert await shop.statuses(1) == [200], "the slot is free"
    assert [amount for amount, _, _ in await debits(database)] == [2, 2]


def scope_of(path: str) -> Scope:
    headers = [(name.lower().encode(), value.encode()) for name, value in as_(READER).items()]
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": headers,
        "client": ("192.0.2.1", 1), "server": ("test", 80),
    }  # fmt: skip


async def nothing_more() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
