"""The second set: less usual forms that need no index."""

from bench.advice._case import Case

CASES = (
    Case(
        "every tenth",
        "unselective: expression",
        "SELECT id FROM order_items WHERE id % 10 = 3",
        tries=("order_items ((id % 10))",),
    ),
    Case(
        "coalesced",
        "unselective: expression",
        "SELECT id, comment FROM orders WHERE coalesce(coupon, 'none') = 'none'",
        tries=("orders (coupon)", "orders (coalesce(coupon, 'none'))"),
    ),
    Case(
        "distinct from",
        "unselective: <>",
        "SELECT id, comment FROM orders WHERE coupon IS DISTINCT FROM 'CPN1'",
        tries=("orders (coupon)",),
    ),
    Case(
        "all but none",
        "unselective",
        "SELECT id, title FROM tickets WHERE assignee_id IS NOT NULL",
        tries=("tickets (assignee_id)",),
    ),
    Case(
        "not like",
        "unselective: <>",
        "SELECT id, name FROM places WHERE name NOT LIKE 'zed%'",
        tries=("places (name text_pattern_ops)",),
    ),
    Case(
        "recent tickets of a big tenant, by key",
        "covered",
        "SELECT id FROM tickets WHERE tenant_id = $1 AND created_at > $2 ORDER BY created_at LIMIT 10",
        values="1, '2025-06-01Z'",
        tries=("tickets (created_at)",),
    ),
    Case(
        "update by unique mail",
        "covered",
        "UPDATE customers SET notes = 'x' WHERE email = 'user.10001@mail1.example'",
        tries=("customers (email, notes)",),
    ),
    Case(
        "union of keys",
        "covered",
        "SELECT id FROM orders WHERE id = 5 UNION SELECT id FROM orders WHERE id IN (6, 7)",
        tries=("orders (id)",),
    ),
    Case(
        "hash join of all",
        "unselective",
        "SELECT count(*) FROM order_items i JOIN orders o ON o.id = i.order_id WHERE o.channel = 0",
        tries=("orders (channel)",),
    ),
    Case(
        "a month in words",
        "rewrite: to_char",
        "SELECT count(*) FROM events WHERE to_char(occurred_at, 'MM') = '02'",
        tries=("events (occurred_at)",),
    ),
    Case(
        "joined by text",
        "rewrite: cast",
        "SELECT count(*) FROM orders o WHERE o.id::text = '77'",
        tries=("orders (id)",),
    ),
    Case(
        "first rows of anything",
        "no condition",
        "SELECT * FROM messages LIMIT 10",
        tries=("messages (sent_at)",),
    ),
    Case(
        "frequent under a limit",
        "limit",
        "SELECT id, total FROM orders WHERE status = 'completed' LIMIT 20",
        tries=("orders (status)",),
    ),
    Case(
        "small group of a tiny join",
        "tiny",
        "SELECT k.region, count(*) FROM countries k JOIN plans p ON p.id = length(k.code) WHERE k.vat > 20 GROUP BY k.region",
        tries=("countries (vat)",),
    ),
)
