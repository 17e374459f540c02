from collections.abc import AsyncIterator

import pytest

from app.core.db import Database
from app.core.monitor import MonitorServer

# Nobody else analyzes them meanwhile.
# Skewed as such tables are: a few customers have most orders, nearly all orders are done. Rows lie in no order but that of ``id``.
TABLES = """
CREATE SCHEMA shop;
CREATE TABLE shop.customers (id int PRIMARY KEY, email varchar(80) NOT NULL, name text NOT NULL, vip boolean NOT NULL)
    WITH (autovacuum_enabled = false);
CREATE TABLE shop."Order Lines" (
    id int PRIMARY KEY, customer_id int NOT NULL REFERENCES shop.customers, status text NOT NULL, total numeric(10,2) NOT NULL,
    at timestamptz NOT NULL, day timestamp NOT NULL, shipped timestamptz, tags text[] NOT NULL, data jsonb NOT NULL, kind int NOT NULL,
    ref int NOT NULL, during tstzrange NOT NULL, place point NOT NULL) WITH (autovacuum_enabled = false);
CREATE TABLE shop.events (tenant int NOT NULL, at date NOT NULL, what text NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE shop.events_1 PARTITION OF shop.events FOR VALUES FROM ('2026-01-01') TO ('2026-07-01') WITH (autovacuum_enabled = false);
CREATE TABLE shop.events_2 PARTITION OF shop.events FOR VALUES FROM ('2026-07-01') TO ('2027-01-01') WITH (autovacuum_enabled = false);
CREATE TABLE shop.flags (name text NOT NULL) WITH (autovacuum_enabled = false);
CREATE TABLE shop.never_analyzed (id int NOT NULL) WITH (autovacuum_enabled = false);
CREATE VIEW shop.opened AS SELECT * FROM shop."Order Lines" WHERE status = 'open';
INSERT INTO shop.customers SELECT i, 'User' || i || '@example.com', md5(i::text), i % 500 = 0 FROM generate_series(1, 3000) i;
INSERT INTO shop."Order Lines"
SELECT i, 1 + (3000 * power(r, 3))::int % 3000, CASE WHEN r2 < 0.01 THEN 'open' WHEN r2 < 0.2 THEN 'sent' ELSE 'done' END, r * 1000,
       '2026-01-01Z'::timestamptz + r2 * interval '300 days', '2026-01-01'::timestamp + r * interval '300 days',
       CASE WHEN r2 >= 0.01 THEN '2026-06-01Z'::timestamptz END, ARRAY['t' || (r * 500)::int],
       jsonb_build_object('ref', 'r' || (r2 * 900)::int, 'web', r < 0.7), (r2 * 200)::int, (r * 5000)::int,
       tstzrange('2026-01-01Z'::timestamptz + r * interval '300 days', '2026-01-01Z'::timestamptz + r * interval '301 days'),
       point(r * 100, r2 * 100)
FROM (SELECT i, ((i::bigint * 7919) % 16001) / 16001.0 AS r, ((i::bigint * 104729) % 15991) / 15991.0 AS r2
      FROM generate_series(1,
16000) i) x;
INSERT INTO shop.events SELECT (i * 31) % 400, '2026-01-01'::date + (i * 7) % 365, md5(i::text) FROM generate_series(1, 12000) i;
INSERT INTO shop.flags SELECT 'f' || i FROM generate_series(1, 100) i;
INSERT INTO shop.never_analyzed SELECT generate_series(1, 100);
CREATE INDEX lines_kind_ref ON shop."Order Lines" (kind, ref);
"""
ANALYZE = 'ANALYZE shop.customers, shop."Order Lines", shop.events, shop.flags'


@pytest.fixture(scope="module")
async def watched(database: Database) -> AsyncIterator[MonitorServer]:
    """The monitor of a database with a small shop in it."""
    async with database.engine.begin() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.execute(TABLES)
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql(ANALYZE)
    server = MonitorServer(database)
    yield server
    await server.close()
    async with database.engine.begin() as connection:
        await connection.exec_driver_sql("DROP SCHEMA shop CASCADE")
