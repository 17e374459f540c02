"""kill -9 of the service at chosen points: the rows of docs/policies/crash-matrix.md, "A process dies".

One process dies with a request in hand at each of the points. What it leaves behind is asked of another one.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import httpx2
import pytest

from tests.chaos.orders import Lost, insist
from tests.chaos.stage import Caller, Stage, frozen_process, until
from tests.processes import PATIENCE_S, Api

Pair = tuple[Api, Api]
REPORT = f"/reports/{uuid4().hex}"


@dataclass(frozen=True)
class Wreck:
    """What a killed process left behind."""

    running: Lost
    committed: Lost
    quick_running: Lost
    quick_committed: Lost
    rerun: Lost
    answered: Lost
    answer: httpx2.Response
    crowd: Caller
    sent: Caller
    unwritten: Caller


@pytest.fixture(scope="module")
async def wreck(stage: Stage, pair: Pair) -> Wreck:
    """A process is killed with kill -9 while it has a request at each point."""
    running, committed, answered = [await Lost.new(stage, "/durable") for _ in range(3)]
    quick_running, quick_committed = [await Lost.new(stage, "/quick") for _ in range(2)]
    rerun, crowd = await Lost.new(stage, "/rerun"), await Lost.new(stage, "/durable")
    sent, unwritten = [Caller.of(await stage.customer(10)) for _ in range(2)]
    computing = stage.gate()
    async with stage.process() as victim:
        answer = await answered.send(victim)
        in_handler = [lost.send_to("handler", victim) for lost in (running, quick_running, crowd)]
        in_handler.append(replace(crowd, key=uuid4().hex).send_to("handler", victim))
        in_handler.append(crowd.caller.get(victim, REPORT, computing.stop("handler")))
        at_commit = [lost.send_to("committed", victim) for lost in (committed, quick_committed, rerun)]
        tasks = [asyncio.create_task(request) for request in (*in_handler, *at_commit)]
        for gate in (lost.gate for lost in (running, quick_running, committed, quick_committed, rerun)):
            await gate.reached()
        await crowd.gate.reached(by=2)
        await computing.reached()
        async with charge_delayed(stage, sent.user):
            assert (await sent.post(victim, "/batched")).status_code == 200
            await until(stage.is_waiting_for_a_lock, "the charge waits for its account")
            # A process writes one batch at a time.
            assert (await unwritten.post(victim, "/batched")).status_code == 200
            victim.process.kill()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, httpx2.TransportError) for outcome in outcomes), outcomes
    return Wreck(
        running,
        committed,
        quick_running,
        quick_committed,
        rerun,
        answered,
        answer,
        crowd.caller,
        sent,
        unwritten,
    )


@asynccontextmanager
async def charge_delayed(stage: Stage, user: UUID) -> AsyncIterator[None]:
    """Charges of this user wait for his account's row."""
    async with stage.sql() as sql, sql.transaction():
        await sql.execute("SELECT 1 FROM credit_accounts WHERE id = $1 FOR UPDATE", str(user))
        yield


class TestDurable:
    async def test_killed_in_the_handler_it_is_run_again_when_its_lease_is_over(
        self, stage: Stage, pair: Pair, wreck: Wreck
    ) -> None:
        lost = wreck.running
        reasons, answer = await insist(lambda: lost.send(pair[0]))
        assert reasons <= {"in_flight"}
        assert answer.status_code == 201
        assert "idempotent-replayed" not in answer.headers
        assert (await lost.send(pair[1])).content == answer.content
        assert await stage.rows(lost.caller.user, "durable") == ["tea"]
        assert await stage.debits(lost.caller.user) == 1
        assert await stage.held(lost.caller.user) == 1  # the dead process's, until its own time is over
        await stage.check_account(lost.caller.user, 9)

    async def test_killed_between_commit_and_settlement_it_is_replayed(
        self, stage: Stage, pair: Pair, wreck: Wreck
    ) -> None:
        lost = wreck.committed
        reasons, answer = await insist(lambda: lost.send(pair[0]))
        assert reasons <= {"in_flight"}
        assert (answer.status_code, answer.headers["idempotent-replayed"]) == (201, "true")
        assert (await lost.send(pair[1])).content == answer.content
        assert await stage.rows(lost.caller.user, "durable") == ["tea"]
        assert await stage.debits(lost.caller.user) == 1
        await stage.check_account(lost.caller.user, 9)

    async def test_killed_after_its_settlement_it_is_replayed_at_once(
        self, stage: Stage, pair: Pair, wreck: Wreck
    ) -> None:
        again = await wreck.answered.send(pair[0])
        assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
        assert again.content == wreck.answer.content
        assert await stage.debits(wreck.answered.caller.user) == 1
        await stage.check_account(wreck.answered.caller.user, 9)


class TestQuick:
    async def test_killed_in_the_handler_its_outcome_is_unknown(
        self, stage: Stage, pair: Pair, wreck: Wreck
    ) -> None:
        lost = wreck.quick_running
        _, answer = await insist(lambda: lost.send(pair[0]))
        assert (answer.status_code, answer.json()["reason"]) == (409, "outcome_unknown")
        assert await stage.rows(lost.caller.user, "quick") == []
        assert await stage.debits(lost.caller.user) == 0
        await stage.check_account(lost.caller.user, 10)

    async def test_killed_between_commit_and_settlement_it_is_not_done_twice(
        self, stage: Stage, pair: Pair, wreck: Wreck
    ) -> None:
        lost = wreck.quick_committed
        _, answer = await insist(lambda: lost.send(pair[0]))
        assert (answer.status_code, answer.json()["reason"]) == (409, "outcome_unknown")
        assert await stage.rows(lost.caller.user, "quick") == ["tea"]
        assert await stage.debits(lost.caller.user) == 1
        await stage.check_account(lost.caller.user, 9)

    async def test_where_it_may_be_done_twice_it_is_charged_once_all_the_same(
        self, stage: Stage, pair: Pair, wreck: Wreck
    ) -> None:
        lost = wreck.rerun
        _, answer = await insist(lambda: lost.send(pair[0]))
        assert answer.status_code == 201
        assert "idempotent-replayed" not in answer.headers
        assert await stage.rows(lost.caller.user, "rerun") == ["tea", "tea"]
        assert await stage.debits(lost.caller.user) == 1
        await stage.check_account(lost.caller.user, 9)


async def test_slots_of_a_killed_process_are_free_when_their_leases_end(
    stage: Stage, pair: Pair, wreck: Wreck
) -> None:
    key = uuid4().hex
    reasons, answer = await insist(lambda: wreck.crowd.post(pair[0], "/durable", key))
    assert reasons <= {"concurrent_requests"}
    assert answer.status_code == 201
    await stage.check_account(wreck.crowd.user, 9)


async def test_a_batched_charge_that_a_killed_process_did_not_write_is_not_made(
    stage: Stage, pair: Pair, wreck: Wreck
) -> None:
    assert await stage.held(wreck.unwritten.user) == 1
    await stage.check_account(wreck.unwritten.user, 10)
    assert await stage.debits(wreck.unwritten.user) == 0


async def test_a_batched_charge_that_was_on_its_way_is_made_once_and_its_hold_freed(
    stage: Stage, pair: Pair, wreck: Wreck
) -> None:
    """One statement, its own transaction: what the server has been sent it completes, though nobody hears of it."""
    assert await stage.held(wreck.sent.user) == 1
    await stage.check_account(wreck.sent.user, 9)
    assert await stage.debits(wreck.sent.user) == 1


async def test_what_a_killed_process_was_computing_is_computed_by_who_has_waited_long_enough(
    stage: Stage, pair: Pair, wreck: Wreck
) -> None:
    async with asyncio.timeout(PATIENCE_S):  # less than the 40 seconds of the dead one's lease
        answers = await asyncio.gather(*(wreck.crowd.get(api, REPORT) for api in pair))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert 1 <= await stage.reports(REPORT.removeprefix("/reports/")) <= 2


class TestCutOff:
    """A process that was believed dead, and goes on."""

    async def test_durable_it_answers_with_what_its_successor_has_done(
        self, stage: Stage, pair: Pair
    ) -> None:
        zombie, successor = pair
        lost = Lost(Caller.of(await stage.customer(10)), "/durable", uuid4().hex, stage.gate())
        late = asyncio.create_task(lost.send(zombie, headers=lost.gate.stop("handler")))
        await lost.gate.reached()
        with frozen_process(zombie):
            _, answer = await insist(lambda: lost.send(successor))
        assert answer.status_code == 201
        assert "idempotent-replayed" not in answer.headers
        lost.gate.open()
        assert ((await late).status_code, (await late).content) == (201, answer.content)
        assert (await late).headers["idempotent-replayed"] == "true"
        assert await stage.rows(lost.caller.user, "durable") == ["tea"]
        assert await stage.debits(lost.caller.user) == 1
        await stage.check_account(lost.caller.user, 9)
