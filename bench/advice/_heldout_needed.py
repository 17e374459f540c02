"""The second set: what needs a plain index."""

from bench.advice._case import Case, any_order, either_way, partial

CASES = (
    Case(
        "tickets of a reference",
        "equality",
        "SELECT tenant_id, id FROM tickets WHERE external_ref = 'EXT-015814-2'",
        ("tickets (external_ref)", "tickets USING hash (external_ref)"),
        wide=("tickets (external_ref, tenant_id)",),
    ),
    Case(
        "product by sku, $1",
        "equality",
        "SELECT * FROM products WHERE sku = $1",
        ("products (sku)", "products USING hash (sku)"),
        values="'SKU-0015838'",
    ),
    Case(
        "friends of a customer",
        "equality",
        "SELECT id, full_name FROM customers WHERE referred_by = 31234",
        (
            "customers (referred_by)",
            "customers USING hash (referred_by)",
            "customers (referred_by) WHERE referred_by IS NOT NULL",
        ),
    ),
    Case(
        "items of a product, $1",
        "equality",
        "SELECT order_id, quantity FROM order_items WHERE product_id = $1",
        ("order_items (product_id)", "order_items USING hash (product_id)"),
        values="45000",
    ),
    Case(
        "documents of an owner, a version",
        "several equalities",
        "SELECT id FROM documents WHERE owner_id = 4000 AND version = 11",
        ("documents (owner_id)", *any_order("documents", "owner_id", "version")),
        narrow=("documents (version)",),
    ),
    Case(
        "dear charges of an account",
        "equality and range",
        "SELECT id, amount_cents FROM billing.charges WHERE account_id = 1 AND amount_cents > 85000",
        ("billing.charges (account_id, amount_cents)", "billing.charges (account_id)"),
    ),
    Case(
        "cheap things in stock of a brand",
        "equality and range",
        "SELECT id, name FROM products WHERE brand = 'brand 0' AND stock BETWEEN 480 AND 485",
        ("products (brand, stock)",),
        narrow=("products (brand)", "products (stock)"),
    ),
    Case(
        "agents of failing log-ins",
        "several equalities",
        "SELECT id, username FROM logins WHERE user_agent = 'agent 0' AND NOT is_ok",
        (*any_order("logins", "user_agent", "is_ok"), "logins (user_agent) WHERE NOT is_ok"),
        narrow=("logins (user_agent)", "logins (is_ok)"),
    ),
    Case(
        "sign-ups of a day",
        "range",
        "SELECT id, email FROM customers WHERE signup_at >= '2023-05-01Z' AND signup_at < '2023-05-02Z'",
        ("customers (signup_at)",),
    ),
    Case(
        "heavily used tokens",
        "range",
        "SELECT id, user_id FROM api_tokens WHERE last_used_at > '2025-10-17 12:00Z'",
        ("api_tokens (last_used_at)",),
    ),
    Case(
        "due soon, $n",
        "BETWEEN",
        "SELECT id, title FROM tickets WHERE due_at BETWEEN $1 AND $2",
        ("tickets (due_at)", "tickets (due_at) WHERE due_at IS NOT NULL"),
        values="'2025-03-01Z', '2025-03-02Z'",
    ),
    Case(
        "latest log-ins of a user",
        "equality, sort and limit",
        "SELECT at, ip FROM logins WHERE username = 'user3' ORDER BY at DESC LIMIT 5",
        either_way("logins", ["username"], "at"),
        narrow=("logins (username)",),
    ),
    Case(
        "highest priority of a state",
        "equality, sort and limit",
        "SELECT id, title FROM tickets WHERE state = 'open' ORDER BY priority DESC, created_at LIMIT 15",
        (
            *either_way("tickets", ["state"], "priority DESC, created_at"),
            *partial("tickets", "state = 'open'", "priority DESC, created_at", "priority, created_at DESC"),
        ),
        narrow=("tickets (state)",),
    ),
    Case(
        "oldest places of a kind, $1",
        "equality, sort and limit",
        "SELECT id, rating FROM places WHERE kind = $1 ORDER BY rating LIMIT 3",
        either_way("places", ["kind"], "rating"),
        values="'airport'",
    ),
    Case(
        "dearest charges",
        "sort and limit",
        "SELECT id, account_id FROM billing.charges ORDER BY amount_cents DESC LIMIT 10",
        ("billing.charges (amount_cents)", "billing.charges (amount_cents DESC)"),
    ),
    Case(
        "last paid",
        "sort and limit",
        "SELECT id, number FROM invoices WHERE paid_at IS NOT NULL ORDER BY paid_at DESC LIMIT 20",
        (
            "invoices (paid_at)",
            "invoices (paid_at DESC)",
            *partial("invoices", "paid_at IS NOT NULL", "paid_at", "paid_at DESC"),
        ),
    ),
    Case(
        "nulls at the end",
        "sort and limit",
        "SELECT id, last_used_at FROM api_tokens ORDER BY last_used_at DESC NULLS LAST LIMIT 10",
        ("api_tokens (last_used_at DESC NULLS LAST)", "api_tokens (last_used_at NULLS FIRST)"),
        narrow=("api_tokens (last_used_at)", "api_tokens (last_used_at DESC)"),
    ),
    Case(
        "rating down, name up",
        "mixed directions",
        "SELECT id, name, rating FROM places ORDER BY rating DESC, name LIMIT 10",
        (*either_way("places", [], "rating DESC, name"),),
        narrow=("places (name)",),
    ),
    Case(
        "several threads",
        "IN",
        "SELECT id, body FROM messages WHERE thread_id IN (20001, 20002, 20003)",
        ("messages (thread_id)",),
    ),
    Case(
        "events of some users",
        "partitioned",
        "SELECT id, kind FROM events WHERE user_id = ANY (ARRAY[11000, 12000, 13000])",
        ("events (user_id)",),
    ),
    Case(
        "a user's newest events",
        "partitioned",
        "SELECT id, kind FROM events WHERE user_id = 1 ORDER BY occurred_at DESC LIMIT 10",
        either_way("events", ["user_id"], "occurred_at"),
        narrow=("events (user_id)",),
    ),
    Case(
        "order, items and products",
        "join",
        "SELECT p.name, i.quantity FROM orders o JOIN order_items i ON i.order_id = o.id"
        " JOIN products p ON p.id = i.product_id WHERE o.id = 250000",
        ("order_items (order_id)",),
    ),
    Case(
        "orders of very important customers' mail",
        "join",
        "SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer_id"
        " WHERE c.email IN ('user.31001@mail1.example', 'user.41002@mail2.example')",
        ("orders (customer_id)",),
    ),
    Case(
        "bookings of a guest with a place",
        "join",
        "SELECT b.id, p.name FROM bookings b JOIN places p ON p.id = b.room_id WHERE b.guest_id = 15000",
        ("bookings (guest_id)", "bookings USING hash (guest_id)"),
    ),
)
