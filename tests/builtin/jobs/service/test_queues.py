"""How queues stand, and what is deleted, on real servers."""

import re
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from app.builtin.jobs.service import QueueDesk, QueueOptions
from app.core.db import Database
from app.core.jobs import Parcel, ValkeyBroker
from app.core.observability import Metrics
from app.core.valkey import ValkeyClient
from tests.builtin.jobs.rows import insert_jobs, insert_worker
from tests.emptying import empty_tables

pytestmark = pytest.mark.usefixtures("clean_database")

_TOLD = text("""
WITH place AS (
    INSERT INTO webhook_endpoints (id, owner, url, secret) VALUES (gen_random_uuid(), 'ann', 'https://hook.example/', 'sealed') RETURNING id
), told AS (
    INSERT INTO webhook_deliveries (id, endpoint_id, event, body, run_id, status, finished_at)
    SELECT gen_random_uuid(), place.id, 'ping', '{}', gen_random_uuid(), kind.status, now() - make_interval(days => kind.days)
    FROM place, (VALUES ('delivered', 8, 1000), ('failed', 8, 200), ('delivered', 6, 2), ('pending', NULL, 3)) AS kind(status, days, count),
        generate_series(1, kind.count)
    RETURNING id
)
INSERT INTO webhook_attempts (delivery_id, number) SELECT id, 1 FROM told
""")
_LEFT = text("""
SELECT d.status, count(*), count(a.delivery_id) FROM webhook_deliveries d LEFT JOIN webhook_attempts a ON a.delivery_id = d.id GROUP BY 1
""")


@pytest.fixture(scope="module")
async def broker(store: ValkeyClient) -> AsyncIterator[ValkeyBroker]:
    broker = ValkeyBroker(store, prefix="jobs-of-queues")
    yield broker
    await broker.close()


@pytest.fixture(scope="module")
def queues(database: Database, broker: ValkeyBroker) -> QueueDesk:
    return QueueDesk(database, broker, ("known",), QueueOptions(silent_s=30, keep_days=7))


async def test_queues_are_counted_by_what_becomes_of_their_jobs(
    queues: QueueDesk, database: Database
) -> None:
    await insert_jobs(database, "queued", 2, queue="mails", due_s=-600)
    await insert_jobs(database, "queued", 3, queue="mails", due_s=600)
    await insert_jobs(database, "running", 4, queue="mails", due_s=-9000)
    await insert_jobs(database, "succeeded", queue="mails")
    await insert_jobs(database, "dead", 2, queue="gone")
    await insert_jobs(database, "queued", queue="later", due_s=60)
    await insert_worker(database, "here", "mails", "known")
    await insert_worker(database, "silent", "mails", silent_s=31)
    gone, known, later, mails = await queues.states()
    assert known == ("known", 0, 0, 0, None, 0, 1)
    assert gone == ("gone", 0, 0, 0, None, 2, 0)
    assert later == ("later", 0, 1, 0, None, 0, 0)
    assert mails[:4] + mails[5:] == ("mails", 2, 3, 4, 0, 1)
    assert mails.oldest_s is not None
    assert mails.oldest_s >= 600
    assert [(worker.name, worker.queues, worker.running) for worker in await queues.workers()] == [
        ("here", ("mails", "known"), 2)
    ]


async def test_what_ended_long_ago_is_deleted_and_nothing_else(queues: QueueDesk, database: Database) -> None:
    kept = [
        *await insert_jobs(database, "queued", due_s=-90 * 86_400),
        *await insert_jobs(database, "running", due_s=-90 * 86_400),
        *await insert_jobs(database, "succeeded", ended_days=6),
        *await insert_jobs(database, "dead", ended_days=6),
    ]
    for status in ("succeeded", "failed", "cancelled", "dead"):
        await insert_jobs(database, status, 400, ended_days=8)  # more than one batch in all
    assert await queues.purge() == 1600
    assert await queues.purge() == 0
    async with database.session() as session:
        assert set(await session.scalars(text("SELECT id FROM jobs"))) == set(kept)


async def test_what_webhooks_were_told_long_ago_is_deleted_with_its_tries(
    queues: QueueDesk, database: Database
) -> None:
    async with database.session() as session:
        await session.execute(_TOLD)
        await session.commit()
    assert await queues.purge() == 1200
    async with database.session() as session:
        left = await session.execute(_LEFT)
        assert {tuple(row) for row in left} == {("delivered", 2, 2), ("pending", 3, 3)}
        assert await session.scalar(text("SELECT count(*) FROM webhook_attempts")) == 5
        await session.execute(text("DELETE FROM webhook_endpoints"))
        await session.commit()


async def test_metrics_are_of_the_database_and_of_the_broker(
    queues: QueueDesk, database: Database, broker: ValkeyBroker
) -> None:
    await insert_jobs(database, "queued", 2, queue="metered", due_s=-60)
    await insert_worker(database, "here", "metered")
    await broker.publish([Parcel("metered", b"1"), Parcel("metered", b"2")])
    await queues.measure()
    found = Metrics().exposition().decode()
    assert 'gatehouse_jobs{queue="metered",status="waiting"} 2.0' in found
    assert 'gatehouse_jobs_queue_workers{queue="metered"} 1.0' in found
    assert 'gatehouse_jobs_messages{queue="metered",state="waiting"} 2.0' in found
    assert 'gatehouse_jobs_workers{service="jobs"} 1.0' in found
    (oldest,) = re.findall(r'gatehouse_jobs_oldest_seconds\{queue="metered"\} (\S+)', found)
    assert float(oldest) >= 60
    await empty_tables(database)
    await queues.measure()
    found = Metrics().exposition().decode()
    assert 'gatehouse_jobs{queue="metered",status="waiting"} 0.0' in found
    assert 'gatehouse_jobs_oldest_seconds{queue="metered"} 0.0' in found
