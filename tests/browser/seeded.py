"""A database with something to see on each page: slow statements with a history, tables that grew, indexes that are too many."""

from typing import Any

from fastapi import FastAPI

from app.builtin.db_monitor.service import StatementSampler, TableSampling
from app.core.db import Database

HOSTILE = '<img src=x onerror="alert(1)">&amp;'
SLOW = "SELECT o.id, c.name FROM shop.orders o JOIN shop.customers c ON c.id = o.customer_id WHERE o.note = $1 ORDER BY o.created_at DESC"

_TABLES = f"""
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
CREATE SCHEMA shop;
CREATE TABLE shop.customers (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE shop.orders (
    id int PRIMARY KEY, customer_id int NOT NULL REFERENCES shop.customers, note text, created_at timestamptz NOT NULL
);
CREATE TABLE shop."{HOSTILE.replace('"', '""')}" (id int PRIMARY KEY);
INSERT INTO shop.customers SELECT n, 'customer ' || n FROM generate_series(1, 1000) n;
INSERT INTO shop.orders SELECT n, 1 + n % 1000, md5(n::text), now() - n * interval '1 minute' FROM generate_series(1, 40000) n;
CREATE INDEX ix_orders_created ON shop.orders (created_at);
CREATE INDEX ix_orders_created_again ON shop.orders (created_at);
CREATE INDEX ix_orders_created_id ON shop.orders (created_at, id);
DELETE FROM shop.orders WHERE id % 3 = 0;
ANALYZE shop.orders, shop.customers;
"""
# One sample is real; the others are the same at earlier times, a little cheaper.
_HISTORY = """
INSERT INTO monitor_statement_samples (queryid, at, user_id, toplevel, is_complete, since, calls, exec_us, plans, plan_us, io_us, rows,
    hit_blocks, read_blocks, dirtied_blocks, temp_blocks, wal_bytes, squares_ms2, max_us)
SELECT queryid, at - n * interval '5 minutes', user_id, toplevel, is_complete, at - (n + 1) * interval '5 minutes', calls,
    (exec_us * (1.2 + sin(n / 6.0) / 2))::bigint, plans, plan_us, io_us, rows, hit_blocks, read_blocks, dirtied_blocks, temp_blocks,
    wal_bytes, squares_ms2, max_us
FROM monitor_statement_samples, generate_series(1, 60) n WHERE date_trunc('month', at - n * interval '5 minutes') = date_trunc('month', at)
"""
_GROWTH = """
INSERT INTO monitor_table_samples (schema_name, table_name, taken_at, heap_bytes, index_bytes, toast_bytes, row_count)
SELECT schema_name, table_name, taken_at - n * interval '1 hour', heap_bytes * (200 - n) / 200, index_bytes * (220 - n) / 220, toast_bytes,
    row_count FROM monitor_table_samples, generate_series(1, 90) n
WHERE date_trunc('month', taken_at - n * interval '1 hour') = date_trunc('month', taken_at)
"""


async def seed(app: FastAPI, database: Database) -> None:
    """Fill it, as the running service would in a day."""
    platform = app.state.gatehouse
    statements, sizes = platform.require(StatementSampler), platform.require(TableSampling)
    async with database.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute(_TABLES)
        await statements.keep()
        await statements.sample()
        for number in range(120):
            await driver.fetch(SLOW, f"note {number}")
        await driver.fetch(
            "SELECT count(*) FROM shop.orders a, shop.customers b WHERE a.customer_id = b.id AND b.name LIKE $1",
            "%7%",
        )
        await driver.execute("SELECT pg_stat_force_next_flush()")
        await statements.sample()
        await sizes.take()
        await driver.execute(_HISTORY)
        await driver.execute(_GROWTH)
