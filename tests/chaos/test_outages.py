"""Servers that die, stall and come back while everybody uses the service: nobody sees a 500, a false 402 or a false 429, every order is
done once, every credit is there, and the processes recover by themselves. How soon they do: ``tests/test_faults.py``.
"""

import asyncio
from collections.abc import Callable, Mapping, Set

from tests.chaos.load import CREDITS, ORDERS, Customer, Load
from tests.chaos.stage import Stage, until
from tests.processes import PATIENCE_S, Api

Pair = tuple[Api, Api]
CUSTOMERS = 12  # so that as many begin with each kind of order, and go on with each other thing
OUTAGE_S = 0.5
EXPECTED: Mapping[str, Set[tuple[int, str | None]]] = {
    "durable": {(201, None), (409, "in_flight")},
    "sent": {(201, None), (409, "in_flight")},
    "quick": {(201, None), (409, "in_flight"), (409, "outcome_unknown")},
    "batched": {(200, None)},
    "paid": {(200, None)},
    "reports": {(200, None)},
    "mine": {(200, None)},
}
"""What may be told besides 503. All limits are so wide that any 429 would be a false one, and customers have credits."""


def assert_only_expected(load: Load) -> None:
    for told in load.told:
        answer = told.answer
        assert answer.status_code == 503 or (answer.status_code, told.reason) in EXPECTED[told.kind], (
            told.kind,
            answer.status_code,
            answer.text,
        )
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert told.is_unknown or int(answer.headers["retry-after"]) >= 1
    # Who has nothing is never served, and an outage is never told as a lack of credits by mistake: he really has none.
    assert {answer.status_code for answer in load.poor} <= {402, 503}
    assert any(answer.status_code == 402 for answer in load.poor)


async def assert_books_are_right(
    stage: Stage, customer: Customer, *, loses_claims: bool, loses_answers: bool
) -> None:
    user = customer.caller.user
    done = {kind: await stage.rows(user, kind) for kind in ORDERS}
    # Exactly once, and what was confirmed is there.
    for kind in ("durable", "sent"):
        assert sorted(done[kind]) == sorted(customer.done[kind])
    assert set(customer.done["quick"]) <= set(done["quick"]) <= {*customer.done["quick"], *customer.unknown}
    if not loses_claims:
        assert len(set(done["quick"])) == len(done["quick"])

    # Charged once per order, also where Valkey has lost the claim and the order was done again.
    assert await stage.debits(user, "durable") == len(done["durable"])
    assert await stage.debits(user, "quick") == len(set(done["quick"]))
    paid, confirmed = await stage.debits(user, "paid"), customer.confirmed["paid"]
    assert confirmed <= paid <= (customer.asked["paid"] if loses_answers else confirmed)

    async def batches_are_written() -> bool:
        return await stage.debits(user, "batched") == customer.confirmed["batched"]

    await until(batches_are_written, "every batched charge is in the ledger, once")
    await stage.check_account(user, CREDITS - await stage.debits(user))


async def check(stage: Stage, load: Load, *, loses_claims: bool = False, loses_answers: bool = False) -> None:
    """``loses_claims``: Valkey comes back empty. ``loses_answers``: a commit's outcome may be unknown, as PostgreSQL died under it."""
    assert_only_expected(load)
    await stage.check_books()
    await asyncio.gather(
        *(
            assert_books_are_right(stage, customer, loses_claims=loses_claims, loses_answers=loses_answers)
            for customer in load.customers
        )
    )


async def outage(
    load: Load, begin: Callable[[], None], end: Callable[[], None], *, refused: Set[str], served: Set[str]
) -> None:
    """``refused``: what is never confirmed while the server is away. ``served``: what is never refused all the same."""
    async with load.running(CUSTOMERS):
        await load.until_good(within_s=PATIENCE_S)
        begin()
        try:
            await load.until_refused()
            await asyncio.sleep(OUTAGE_S)  # who was served at the beginning has his answer by now
            meanwhile = await load.until_told(refused | served)
        finally:
            end()
        await load.until_good(within_s=PATIENCE_S)
    assert {told.kind for told in meanwhile if told.is_good} & refused == set()
    assert {told.kind for told in meanwhile if not told.is_good} & served == set()


async def test_valkey_is_killed_and_comes_back_empty(stage: Stage, pair: Pair) -> None:
    load = Load(stage, pair)
    await outage(
        load,
        stage.valkey.kill,
        stage.valkey.restart,
        refused={*ORDERS, "paid", "batched"},
        served={"mine", "reports"},
    )
    await check(stage, load, loses_claims=True)


async def test_valkey_stalls(stage: Stage, pair: Pair) -> None:
    load = Load(stage, pair)
    await outage(
        load,
        stage.valkey.stop_signal,
        stage.valkey.cont,
        refused={*ORDERS, "paid", "batched"},
        served={"mine", "reports"},
    )
    await check(stage, load)


async def test_postgres_is_killed_and_comes_back(stage: Stage, pair: Pair) -> None:
    load = Load(stage, pair)
    await outage(
        load,
        stage.postgres.kill,
        stage.postgres.restart,
        refused={*ORDERS, "paid"},
        served={"mine", "batched"},
    )
    await check(stage, load, loses_answers=True)
