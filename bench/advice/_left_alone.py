"""Statements that no index makes quicker: whoever suggests one is wrong."""

from bench.advice._case import Case

CASES = (
    Case(
        "a small table",
        "tiny",
        "SELECT * FROM countries WHERE region = 'Region 3'",
        tries=("countries (region)",),
    ),
    Case(
        "a small table, sorted",
        "tiny",
        "SELECT * FROM feature_flags WHERE owner = 'team 1' ORDER BY key LIMIT 5",
        tries=("feature_flags (owner, key)",),
    ),
    Case(
        "a small table, $1",
        "tiny",
        "SELECT id FROM plans WHERE name = $1",
        values="'team'",
        tries=("plans (name)",),
    ),
    Case(
        "a small table in a join",
        "tiny",
        "SELECT c.id FROM customers c JOIN countries k ON k.code = c.country WHERE c.id = 44 AND k.region = 'Region 3'",
        tries=("countries (region)",),
    ),
    Case(
        "most orders",
        "unselective",
        "SELECT id, total FROM orders WHERE status = 'completed'",
        tries=("orders (status)",),
    ),
    Case(
        "a status, $1",
        "unselective",
        "SELECT id, total FROM orders WHERE status = $1",
        values="'completed'",
        tries=("orders (status)",),
    ),
    Case(
        "two regions of twelve",
        "unselective",
        "SELECT id, total, comment FROM orders WHERE region IN (5, 6)",
        tries=("orders (region)",),
    ),
    Case(
        "active customers",
        "unselective",
        "SELECT * FROM customers WHERE is_active",
        tries=("customers (is_active)", "customers (id) WHERE is_active"),
    ),
    Case(
        "closed tickets",
        "unselective",
        "SELECT id, title FROM tickets WHERE closed_at IS NOT NULL",
        tries=("tickets (closed_at)",),
    ),
    Case(
        "half a year",
        "unselective",
        "SELECT count(*), sum(total) FROM orders WHERE placed_at < '2025-10-01Z'",
        tries=("orders (placed_at)",),
    ),
    Case(
        "cheap products",
        "unselective",
        "SELECT id, name, description FROM products WHERE price < 500",
        tries=("products (price)",),
    ),
    Case(
        "page views",
        "unselective",
        "SELECT count(DISTINCT user_id) FROM events WHERE kind = 'page_view'",
        tries=("events (kind)",),
    ),
    Case(
        "not deleted messages",
        "unselective",
        "SELECT id, body FROM messages WHERE deleted_at IS NULL AND read_at IS NOT NULL",
        tries=("messages (deleted_at)", "messages (read_at)"),
    ),
    Case(
        "all tags of one colour",
        "unselective",
        """SELECT id FROM products WHERE attributes @> '{"color": "black"}'""",
        tries=("products USING gin (attributes)",),
    ),
    Case(
        "a very frequent word",
        "unselective",
        "SELECT id, body FROM messages WHERE body LIKE '%text%'",
        tries=("messages USING gin (body gin_trgm_ops)",),
    ),
    Case(
        "by channel, summed",
        "unselective",
        "SELECT region, sum(total) FROM orders WHERE channel IN (0, 1, 2) GROUP BY region",
        tries=("orders (channel)", "orders (region)"),
    ),
    Case(
        "join of everything",
        "unselective",
        "SELECT c.country, sum(o.total) FROM orders o JOIN customers c ON c.id = o.customer_id GROUP BY c.country",
        tries=("orders (customer_id)", "customers (country)"),
    ),
    Case(
        "all orders sorted",
        "unselective",
        "SELECT id, total, comment FROM orders ORDER BY total",
        tries=("orders (total)",),
    ),
    Case(
        "count everything", "count(*)", "SELECT count(*) FROM order_items", tries=("order_items (order_id)",)
    ),
    Case("count all customers", "count(*)", "SELECT count(*) FROM customers", tries=("customers (country)",)),
)
