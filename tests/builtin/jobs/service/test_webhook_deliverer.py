"""What becomes of the end of a job: one message to each webhook, tried until it arrives or nobody can hope for that any more."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.core.db import Database
from app.core.errors import PolicyRejected
from app.core.jobs import AttemptFailed, JobFailed
from app.core.security import WebhookKeys, configure_encryption
from app.core.valkey import ValkeyClient
from tests.builtin.jobs.hooks import NOW, Hooks, hooks_on, somebody
from tests.builtin.jobs.rows import enter
from tests.emptying import empty_tables
from tests.upstream import Upstream, fields_of, reply

_RUNS_AGAIN = text("UPDATE jobs SET status = 'running', worker_id = gen_random_uuid() WHERE id = :id")


@pytest.fixture(scope="module")
async def tables(database: Database) -> AsyncIterator[Database]:
    """Emptied when all is over: each test has users of its own."""
    configure_encryption(["a key of the tests, thirty-two bytes or more"])
    yield database
    configure_encryption(None)
    await empty_tables(database)


@pytest.fixture
async def hooks(
    tables: Database, store: ValkeyClient, clean_store: None, upstream: Upstream
) -> AsyncIterator[Hooks]:
    async with hooks_on(tables, store, upstream) as hooks:
        yield hooks


async def pending(hooks: Hooks) -> tuple[Any, Any, Any]:
    """Somebody, his webhook, and a message that waits."""
    caller = somebody()
    webhook = await hooks.create(caller)
    await hooks.end(await hooks.submit(caller, webhook.id), webhook.id)
    (delivery,) = await hooks.told(caller, webhook.id)
    return caller, webhook, delivery


async def test_an_end_is_told_once_however_often_it_is_looked_at(hooks: Hooks) -> None:
    caller = somebody()
    webhook = await hooks.create(caller)
    job_id = await hooks.submit(caller, webhook.id)
    with pytest.raises(LookupError):
        await hooks.end(job_id, webhook.id, then=LookupError())
    assert (await hooks.told(caller, webhook.id), await hooks.runs(webhook.id)) == ([], [])
    await asyncio.gather(*(hooks.end(job_id, webhook.id) for _ in range(3)))
    (delivery,) = await hooks.told(caller, webhook.id)
    ((run_id, status, owner, queue),) = await hooks.runs(webhook.id)
    assert (delivery.event, delivery.job_id, delivery.status) == ("job.succeeded", job_id, "pending")
    assert (run_id, status, owner, queue) == (
        await hooks.run_of(delivery.id),
        "queued",
        "system",
        "webhooks",
    )


async def test_a_message_arrives_signed_and_is_not_sent_again(hooks: Hooks) -> None:
    caller, webhook, delivery = await pending(hooks)
    await hooks.deliver(delivery.id)
    await hooks.deliver(delivery.id)
    (head,), (body,) = hooks.upstream.requests, hooks.upstream.bodies
    fields, said = fields_of(head), json.loads(body)
    keys = WebhookKeys([webhook.secret])
    assert keys.is_signed(fields["webhook-signature"], str(delivery.id), str(NOW), body)
    assert (fields["webhook-id"], said["id"], said["type"]) == (*[str(delivery.id)] * 2, "job.succeeded")
    assert said["data"] == {
        "job_id": str(delivery.job_id),
        "name": "errand",
        "status": "succeeded",
        "result": 6,
    }
    (arrived,) = await hooks.told(caller, webhook.id)
    assert (arrived.status, arrived.attempts, arrived.finished_at is not None) == ("delivered", 1, True)
    assert [(one.number, one.http_status, one.error) for one in arrived.log] == [(1, 200, None)]


async def test_whoever_fails_is_tried_again_with_the_same_message_at_a_new_time(hooks: Hooks) -> None:
    caller, webhook, delivery = await pending(hooks)
    hooks.upstream.answers(
        reply({}, 500), reply({}, 503, retry_after="77"), b"", reply({}, 302, location="/")
    )
    for least_s in (0.0, 77.0, 0.0, 0.0):
        with pytest.raises(AttemptFailed) as failed:
            await hooks.deliver(delivery.id)
        assert failed.value.retry_after_s == least_s
        hooks.clock.advance(60)
    await hooks.deliver(delivery.id)
    heads = [fields_of(head) for head in hooks.upstream.requests]
    assert [head["webhook-timestamp"] for head in heads] == [str(NOW + 60 * n) for n in range(5)]
    assert (len({head["webhook-id"] for head in heads}), len(set(hooks.upstream.bodies))) == (1, 1)
    assert len({head["webhook-signature"] for head in heads}) == 5
    (arrived,) = await hooks.told(caller, webhook.id)
    assert [(one.http_status, one.error) for one in arrived.log] == [
        (500, None), (503, None), (None, "no valid answer"), (302, None), (200, None),
    ]  # fmt: skip


async def test_a_message_that_was_given_up_says_so_and_can_be_tried_again(hooks: Hooks) -> None:
    caller, webhook, delivery = await pending(hooks)
    hooks.upstream.answers(reply({}, 500))
    with pytest.raises(AttemptFailed):
        await hooks.deliver(delivery.id)
    first_run = await hooks.run_of(delivery.id)
    await hooks.give_up(delivery.id)
    (given_up,) = await hooks.told(caller, webhook.id)
    (shown,) = (await hooks.ask(hooks.desk.list, caller)).items
    assert (given_up.status, given_up.attempts) == ("failed", 1)
    assert (shown.is_active, shown.failure, shown.failed_at is not None) == (True, "HTTP 500", True)
    again = await hooks.ask(hooks.desk.retry, caller, delivery.id)
    assert (again.status, len(again.log)) == ("pending", 1)
    await hooks.deliverer.deliver(delivery.id, first_run)  # a late one of before has nothing to do with it
    assert len(hooks.upstream.requests) == 1
    await hooks.deliver(delivery.id)
    (shown,) = (await hooks.ask(hooks.desk.list, caller)).items
    assert (shown.failure, shown.failed_at, len(hooks.upstream.requests)) == (None, None, 2)


async def test_a_message_that_was_given_up_is_sent_when_its_job_is_run_again(hooks: Hooks) -> None:
    caller, webhook, delivery = await pending(hooks)
    await hooks.give_up(delivery.id)
    await hooks.deliver(delivery.id)  # a try that comes too late
    assert hooks.upstream.requests == []
    async with hooks.database.session() as session:
        await session.execute(_RUNS_AGAIN, {"id": await hooks.run_of(delivery.id)})
        await session.commit()
    hooks.upstream.answers(reply({}, 500), reply({}))
    with pytest.raises(AttemptFailed):
        await hooks.deliver(delivery.id)
    (waiting,) = await hooks.told(caller, webhook.id)
    assert (waiting.status, waiting.finished_at) == ("pending", None)
    await hooks.deliver(delivery.id)
    (sent,) = await hooks.told(caller, webhook.id)
    (shown,) = (await hooks.ask(hooks.desk.list, caller)).items
    assert (sent.status, sent.attempts, shown.failed_at) == ("delivered", 2, None)


async def test_whoever_is_gone_gets_nothing_any_more(hooks: Hooks) -> None:
    caller, webhook, delivery = await pending(hooks)
    job_id = await hooks.submit(caller, webhook.id)
    hooks.upstream.answers(reply({}, 410))
    with pytest.raises(JobFailed, match="410"):
        await hooks.deliver(delivery.id)
    (shown,) = (await hooks.ask(hooks.desk.list, caller)).items
    assert (shown.is_active, shown.disabled_reason) == (False, "It answered 410 Gone.")
    with pytest.raises(JobFailed, match="not active"):
        await hooks.deliver(delivery.id)
    await hooks.end(job_id, webhook.id)
    assert (len(await hooks.told(caller, webhook.id)), len(hooks.upstream.requests)) == (1, 1)


async def test_a_host_that_fails_is_left_alone_and_that_is_no_attempt(hooks: Hooks) -> None:
    caller, webhook, delivery = await pending(hooks)
    hooks.upstream.always(reply({}, 500))
    for _ in range(5):
        with pytest.raises(AttemptFailed):
            await hooks.deliver(delivery.id)
    with pytest.raises(PolicyRejected) as refused:
        await hooks.deliver(delivery.id)
    (waiting,) = await hooks.told(caller, webhook.id)
    assert (refused.value.retry_after, waiting.attempts, len(hooks.upstream.requests)) == (30, 5, 5)
    hooks.upstream.recover()
    hooks.clock.advance(30)
    await hooks.deliver(delivery.id)
    assert len(hooks.upstream.requests) == 6


async def test_a_host_with_enough_calls_under_way_is_no_attempt_either(hooks: Hooks) -> None:
    caller, webhook, delivery = await pending(hooks)
    with ExitStack() as under_way:
        for _ in range(8):
            under_way.enter_context(hooks.hosts.call(f"127.0.0.1:{hooks.upstream.port}"))
        with pytest.raises(PolicyRejected, match="on their way") as refused:
            await hooks.deliver(delivery.id)
    (waiting,) = await hooks.told(caller, webhook.id)
    assert (refused.value.retry_after, waiting.attempts, hooks.upstream.requests) == (1, 0, [])
    await hooks.deliver(delivery.id)
    assert len(hooks.upstream.requests) == 1


async def test_a_message_that_is_too_old_is_not_sent(hooks: Hooks) -> None:
    _, _, delivery = await pending(hooks)
    hooks.clock.advance(86_401)
    with pytest.raises(JobFailed, match="too old"):
        await hooks.deliver(delivery.id)
    assert hooks.upstream.requests == []


async def test_one_that_is_broken_off_is_sent_again(hooks: Hooks) -> None:
    """As when the worker is killed: what it had begun stays in the log without an end."""
    caller, webhook, delivery = await pending(hooks)
    hooks.upstream.answers(None)
    task = asyncio.create_task(hooks.deliver(delivery.id))
    while not hooks.upstream.requests and not task.done():  # noqa: ASYNC110 - the other side does not tell
        await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await hooks.deliver(delivery.id)
    (arrived,) = await hooks.told(caller, webhook.id)
    assert [(one.http_status, one.error) for one in arrived.log] == [(None, None), (200, None)]
    assert len({fields_of(head)["webhook-id"] for head in hooks.upstream.requests}) == 1


async def test_a_sender_that_dies_at_its_last_try_leaves_a_message_that_failed(hooks: Hooks) -> None:
    caller, webhook, delivery = await pending(hooks)
    run_id = await hooks.run_of(delivery.id)
    await hooks.allow_attempts(run_id, 1)
    assert [one.id for one in await hooks.jobs.claim(await enter(hooks.jobs), [run_id])] == [run_id]
    assert await hooks.log.begin(delivery.id, run_id) == 1
    assert run_id in (await hooks.jobs.recover(None, silent_s=0, most=100)).dead
    (failed,) = await hooks.told(caller, webhook.id)
    (shown,) = (await hooks.ask(hooks.desk.list, caller)).items
    assert (failed.status, failed.attempts, shown.failure) == ("failed", 1, "not sent")


async def test_the_last_secret_signs_for_a_day(hooks: Hooks) -> None:
    caller, webhook, delivery = await pending(hooks)
    newer = await hooks.ask(hooks.desk.rotate, caller, webhook.id)
    hooks.upstream.answers(reply({}, 500))
    with pytest.raises(AttemptFailed):
        await hooks.deliver(delivery.id)
    hooks.clock.advance(86_400)
    ping = await hooks.ask(hooks.desk.test, caller, webhook.id)
    await hooks.deliver(ping.id)
    found = [
        [WebhookKeys([key]).is_signed(fields["webhook-signature"], fields["webhook-id"], fields["webhook-timestamp"], body)
         for key in (webhook.secret, newer.secret)]
        for fields, body in zip(map(fields_of, hooks.upstream.requests), hooks.upstream.bodies, strict=True)
    ]  # fmt: skip
    assert found == [[True, True], [False, True]]
    assert newer.old_secret_until is not None
    assert json.loads(hooks.upstream.bodies[1])["type"] == "ping"


async def test_a_webhook_of_somebody_else_is_not_told_and_cannot_be_named(hooks: Hooks) -> None:
    owner, other = somebody(), somebody()
    webhook = await hooks.create(owner)
    job_id = await hooks.submit(other, webhook.id)
    await hooks.end(job_id, webhook.id)
    assert await hooks.told(owner, webhook.id) == []
    await hooks.ask(hooks.desk.check, owner, webhook.id)
    for caller, named in ((other, webhook.id), (owner, uuid4())):
        with pytest.raises(Exception, match="webhook_id"):
            await hooks.ask(hooks.desk.check, caller, named)
