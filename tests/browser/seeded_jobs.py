"""Jobs of every status, workers, and a webhook that was told: rows, without anybody who runs them."""

from uuid import UUID

from app.core.db import Database
from tests.browser.seeded import HOSTILE

DEAD, RUNNING, QUEUED, FAILED = (UUID(int=number << 64) for number in (4, 3, 2, 1))
HOOK, WORKER = UUID(int=7), UUID(int=8)
SECRET = "a password of somebody"
_LONG = "Traceback of many words that nobody can break " * 20 + "x" * 400

_ROWS = f"""
INSERT INTO job_workers (id, name, queues, concurrency, processes, running, started_at, seen_at) VALUES
    ('{WORKER}', 'worker-host-with-a-long-name.internal:4711', '{{default,mails}}', 16, 2, 1, now() - interval '3 days', now()),
    (gen_random_uuid(), 'gone:1', '{{mails}}', 4, 0, 0, now() - interval '9 days', now() - interval '2 hours');
INSERT INTO webhook_endpoints (id, owner, url, secret) VALUES ('{HOOK}', 'ann', 'https://example.com/hook', 'sealed');
INSERT INTO jobs (id, name, queue, priority, owner, arguments, status, attempts, max_attempts, worker_id, error, note, progress, result,
    webhook_id, traceparent, created_at, started_at, finished_at, run_at) VALUES
    ('{FAILED}', 'convert_film', 'films', 'low', NULL, '{{}}', 'failed', 1, 3, NULL, 'No such film', NULL, NULL, NULL, NULL, NULL,
        now() - interval '2 h', now() - interval '2 h', now() - interval '1 h', now() - interval '2 h'),
    ('{QUEUED}', 'send_mail', 'mails', 'normal', 'ann', '{{"to": "bob"}}', 'queued', 1, 5, NULL, 'Timed out', NULL, NULL, NULL, NULL, NULL,
        now() - interval '1 h', now() - interval '50 min', NULL, now() + interval '1 h'),
    ('{RUNNING}', 'send_mail', 'mails', 'high', 'ann', '{{"to": "bob"}}', 'running', 1, 5, '{WORKER}', NULL, 'half of it', 0.5, NULL, NULL,
        NULL, now() - interval '40 min', now() - interval '30 min', NULL, now() - interval '40 min'),
    ('{DEAD}', 'send_mail', 'mails', 'normal', $${HOSTILE}$$, '{{"password": "{SECRET}", "to": "{"y" * 300}"}}', 'dead', 5, 5, NULL,
        $${_LONG} {HOSTILE}$$, NULL, 0.9, NULL, '{HOOK}', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        now() - interval '3 days', now() - interval '2 days', now() - interval '2 days', now() - interval '2 days');
INSERT INTO webhook_deliveries (id, endpoint_id, job_id, ended_at, event, body, status, attempts, run_id, finished_at) VALUES
    (gen_random_uuid(), '{HOOK}', '{DEAD}', now() - interval '2 days', 'job.dead', '{{}}', 'failed', 12, gen_random_uuid(), now());
"""


async def seed_jobs(database: Database) -> None:
    """Put them in."""
    async with database.engine.begin() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.execute(_ROWS)
