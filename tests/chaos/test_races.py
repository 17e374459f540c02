"""Many callers at once, spread over two processes of the service."""

import asyncio
from collections import Counter
from uuid import uuid4

import httpx2

from tests.chaos.stage import Caller, Stage, until
from tests.processes import Api

Pair = tuple[Api, Api]


async def test_fifty_with_one_key_are_one_order_and_forty_nine_replays_of_it(
    stage: Stage, pair: Pair
) -> None:
    caller, gate, key = Caller.of(await stage.customer(100)), stage.gate(), uuid4().hex

    async def send(number: int) -> httpx2.Response:
        return await caller.post(pair[number % 2], "/durable", key, gate.stop("handler"))

    calls = [asyncio.create_task(send(number)) for number in range(50)]
    await until(lambda: sum(call.done() for call in calls) == 49, "all but one are turned away")
    gate.open()
    answers = await asyncio.gather(*calls)
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 49}
    assert {answer.json()["reason"] for answer in answers if answer.status_code == 409} == {"in_flight"}
    assert gate.arrivals == 1

    first = next(answer for answer in answers if answer.status_code == 201)
    replays = await asyncio.gather(*(send(number) for number in range(50)))
    assert {replay.content for replay in replays} == {first.content}
    assert {replay.headers.get("idempotent-replayed") for replay in replays} == {"true"}
    assert {replay.status_code for replay in replays} == {201}
    assert "idempotent-replayed" not in first.headers
    assert await stage.rows(caller.user, "durable") == ["tea"]
    assert await stage.debits(caller.user) == 1
    await stage.check_account(caller.user, 99)


async def test_of_a_hundred_holds_on_a_balance_for_ten_ten_are_admitted(stage: Stage, pair: Pair) -> None:
    caller, gate = Caller.of(await stage.customer(10)), stage.gate()

    async def send(number: int) -> httpx2.Response:
        return await caller.post(pair[number % 2], "/paid", headers=gate.stop("handler"))

    calls = [asyncio.create_task(send(number)) for number in range(100)]
    await until(lambda: sum(call.done() for call in calls) >= 90, "all but ten are turned away")
    await gate.reached(by=10)
    assert await stage.held(caller.user) == 10
    gate.open()
    answers = await asyncio.gather(*calls)
    # The credits are there and held by the others: that is no 402.
    assert Counter(answer.status_code for answer in answers) == {200: 10, 429: 90}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.json()["reason"] for answer in refused} == {"credits_held"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert gate.arrivals == 10

    spent = await asyncio.gather(*(send(number) for number in range(4)))
    assert {answer.status_code for answer in spent} == {402}
    assert {(answer.json()["required"], answer.json()["available"]) for answer in spent} == {(1, 0)}
    assert await stage.debits(caller.user) == 10
    await stage.check_account(caller.user, 0)


async def test_a_hundred_who_ask_for_what_is_not_there_have_it_computed_once(
    stage: Stage, pair: Pair
) -> None:
    gate, name = stage.gate(), uuid4().hex
    callers = [Caller.of(uuid4()) for _ in range(100)]

    async def ask(number: int) -> httpx2.Response:
        return await callers[number].get(pair[number % 2], f"/patient/{name}", gate.stop("handler"))

    calls = [asyncio.create_task(ask(number)) for number in range(100)]
    users = [caller.user for caller in callers]

    async def all_have_asked() -> bool:
        return await stage.admitted(users) == 100

    await until(all_have_asked, "all hundred have asked while it is computed")
    gate.open()
    answers = await asyncio.gather(*calls)
    assert Counter(answer.status_code for answer in answers) == {200: 100}
    assert len({answer.content for answer in answers}) == 1
    assert await stage.reports(name) == 1
    assert gate.arrivals == 1
