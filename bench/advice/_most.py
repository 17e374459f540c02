"""More statements that no index makes quicker: what looks selective and is not, and what a key serves through a view or a join."""

from bench.advice._case import Case

CASES = (
    Case(
        "a frequent country in small letters",
        "unselective: expression",
        "SELECT id, full_name, notes FROM customers WHERE lower(country) = 'c1'",
        tries=("customers (lower(country))",),
    ),
    Case(
        "the commonest type",
        "unselective: expression",
        "SELECT id, title, body FROM documents WHERE data ->> 'type' = 'note'",
        tries=("documents ((data ->> 'type'))",),
    ),
    Case(
        "since some day, $1",
        "unselective",
        "SELECT id, total, comment FROM orders WHERE placed_at >= $1",
        values="'2025-02-01Z'",
        tries=("orders (placed_at)",),
    ),
    Case(
        "any priority",
        "unselective",
        "SELECT id, title FROM tickets WHERE priority >= 1",
        tries=("tickets (priority)",),
    ),
    Case(
        "the whole network",
        "unselective",
        "SELECT id, username FROM logins WHERE ip << '10.0.0.0/8'",
        tries=("logins (ip)",),
    ),
    Case(
        "rooms taken at any time",
        "unselective",
        "SELECT id, code FROM bookings WHERE during && tstzrange('2024-01-01Z', '2026-04-01Z')",
        tries=("bookings USING gist (during)",),
    ),
    Case(
        "one channel or one region",
        "OR",
        "SELECT id, total, comment FROM orders WHERE channel = 1 OR region = 2",
        tries=("orders (channel)", "orders (region)"),
    ),
    Case(
        "average of nearly all",
        "CTE",
        "WITH r AS (SELECT region, total FROM orders WHERE total > 5) SELECT region, avg(total) FROM r GROUP BY region",
        tries=("orders (total)",),
    ),
    Case(
        "a month of events by kind",
        "covered: partitioned",
        "SELECT kind, count(*) FROM events WHERE occurred_at >= '2026-02-01Z' AND occurred_at < '2026-03-01Z' GROUP BY kind",
        tries=("events (occurred_at)",),
    ),
    Case(
        "an open ticket by key",
        "covered: view",
        "SELECT title FROM open_tickets WHERE id = 5",
        tries=("tickets (id) WHERE closed_at IS NULL",),
    ),
    Case(
        "one order through a view",
        "covered: view",
        "SELECT email, total FROM customer_orders WHERE order_id = 55",
        tries=("orders (customer_id)", "orders (id, customer_id)"),
    ),
    Case(
        "items whose order is there",
        "covered: join",
        "SELECT i.id FROM order_items i WHERE i.id < 100 AND EXISTS (SELECT 1 FROM orders o WHERE o.id = i.order_id)",
        tries=("order_items (order_id)",),
    ),
    Case(
        "a page far back",
        "covered",
        "SELECT id FROM orders ORDER BY id LIMIT 10 OFFSET 200000",
        tries=("orders (id, total)",),
    ),
)
