"""The second set: the same needs in less usual forms of SQL."""

from bench.advice._case import Case, any_order, either_way, partial, prefix, trigram

CASES = (
    Case(
        "locked for a worker",
        "FOR UPDATE",
        "SELECT id FROM messages WHERE recipient_id = 77 AND read_at IS NULL"
        " ORDER BY sent_at LIMIT 1 FOR UPDATE SKIP LOCKED",
        (
            "messages (recipient_id)",
            *any_order("messages", "recipient_id", "read_at"),
            *partial(
                "messages",
                "read_at IS NULL",
                "recipient_id",
                "recipient_id, sent_at",
                "recipient_id, sent_at DESC",
            ),
            *either_way("messages", ["recipient_id"], "sent_at"),
            *either_way("messages", ["recipient_id", "read_at"], "sent_at"),
        ),
    ),
    Case(
        "one for each, the newest",
        "DISTINCT ON",
        "SELECT DISTINCT ON (customer_id) customer_id, id FROM orders WHERE customer_id IN (40001, 40002)"
        " ORDER BY customer_id, placed_at DESC",
        (
            "orders (customer_id)",
            "orders (customer_id, placed_at DESC)",
            "orders (customer_id, placed_at)",
            "orders (customer_id DESC, placed_at)",
        ),
    ),
    Case(
        "numbered",
        "window",
        "SELECT id, row_number() OVER (ORDER BY sent_at) FROM messages WHERE thread_id = 19999",
        ("messages (thread_id)", *either_way("messages", ["thread_id"], "sent_at")),
    ),
    Case(
        "both sides of a union",
        "UNION",
        "SELECT id FROM messages WHERE sender_id = 5555 UNION ALL SELECT id FROM messages WHERE recipient_id = 5555",
        (("messages (sender_id)", "messages (recipient_id)"),),
    ),
    Case(
        "left join of a page",
        "left join",
        "SELECT c.id, o.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND o.status = 'disputed' WHERE c.id = 31000",
        (
            "orders (customer_id)",
            *any_order("orders", "customer_id", "status"),
            "orders (status)",
            *partial("orders", "status = 'disputed'", "customer_id", "id", "status"),
        ),
    ),
    Case(
        "others in the same thread",
        "self join",
        "SELECT b.id FROM messages a JOIN messages b ON b.thread_id = a.thread_id WHERE a.id = 1234",
        ("messages (thread_id)", "messages USING hash (thread_id)"),
    ),
    Case(
        "change by a join",
        "UPDATE",
        "UPDATE order_items i SET price = 0 FROM orders o WHERE o.id = i.order_id AND o.id = 199999",
        ("order_items (order_id)", "order_items USING hash (order_id)"),
    ),
    Case(
        "delete by a join",
        "DELETE",
        "DELETE FROM messages m USING customers c"
        " WHERE c.email = 'user.30001@mail1.example' AND m.recipient_id = c.id",
        ("messages (recipient_id)", "messages USING hash (recipient_id)"),
    ),
    Case(
        "below a category",
        "recursive CTE",
        "WITH RECURSIVE t AS (SELECT id FROM categories WHERE id = 9000"
        " UNION ALL SELECT c.id FROM categories c JOIN t ON c.parent_id = t.id) SELECT count(*) FROM t",
        ("categories (parent_id)",),
    ),
    Case(
        "copied to itself",
        "INSERT",
        "INSERT INTO jobs (id, queue, state, priority, run_at, attempts, payload)"
        " SELECT id + 800000000, 'q1', 'queued', 1, now(), 0, '{}' FROM messages WHERE sender_id = 6500",
        ("messages (sender_id)", "messages USING hash (sender_id)"),
    ),
    Case(
        "the other way round",
        "equality",
        "SELECT id FROM orders WHERE 'TRK000144813' = tracking_code",
        ("orders (tracking_code)", "orders USING hash (tracking_code)"),
    ),
    Case(
        "a few values",
        "VALUES",
        "SELECT o.id FROM orders o JOIN (VALUES (51000), (52000), (53000)) v (c) ON v.c = o.customer_id",
        ("orders (customer_id)",),
    ),
    Case(
        "is true",
        "partial: boolean",
        "SELECT id, email FROM customers WHERE is_vip IS TRUE",
        ("customers (is_vip)", *partial("customers", "is_vip IS TRUE", "id", "is_vip", "email")),
    ),
    Case(
        "not active",
        "partial: boolean",
        "SELECT id FROM billing.charges WHERE NOT (NOT is_disputed) AND provider = 'gamma'",
        (
            "billing.charges (is_disputed)",
            *any_order("billing.charges", "is_disputed", "provider"),
            *partial("billing.charges", "is_disputed", "provider", "id", "is_disputed"),
        ),
    ),
    Case(
        "somebody holds it",
        "partial: IS NOT NULL",
        "SELECT id, queue FROM jobs WHERE locked_by IS NOT NULL",
        ("jobs (locked_by)", *partial("jobs", "locked_by IS NOT NULL", "id", "locked_by", "queue")),
    ),
    Case(
        "begins so, as a pattern",
        "regular expression",
        "SELECT id FROM orders WHERE tracking_code ~ '^TRK00096'",
        (*prefix("orders", "tracking_code"), *trigram("orders", "tracking_code")),
        narrow=("orders (tracking_code)",),
    ),
    Case(
        "holds so, as a pattern",
        "regular expression",
        "SELECT id FROM tickets WHERE title ~ 'sevexong (ba|de)'",
        trigram("tickets", "title"),
    ),
    Case(
        "part in small letters",
        "trigram",
        "SELECT id FROM places WHERE lower(name) LIKE '%zedant 17%'",
        ("places USING gin (lower(name) gin_trgm_ops)",),
    ),
    Case(
        "begins and ends so",
        "LIKE prefix",
        "SELECT id FROM invoices WHERE number LIKE 'INV-00444%7'",
        prefix("invoices", "number"),
    ),
    Case(
        "in capitals",
        "expression",
        "SELECT id FROM bookings WHERE upper(code) = 'C4CA4238A0'",
        ("bookings (upper(code))", "bookings USING hash (upper(code))"),
    ),
    Case(
        "by length, the longest",
        "expression",
        "SELECT id FROM customers ORDER BY length(full_name) DESC LIMIT 5",
        ("customers (length(full_name))", "customers (length(full_name) DESC)"),
    ),
    Case(
        "sorted in small letters",
        "expression",
        "SELECT id, title FROM documents ORDER BY lower(title) LIMIT 10",
        ("documents (lower(title))", "documents (lower(title) DESC)"),
    ),
    Case(
        "has one of these keys",
        "jsonb ?",
        "SELECT id FROM documents WHERE data ?| ARRAY['legal_hold', 'sealed']",
        ("documents USING gin (data)",),
    ),
    Case(
        "a path exists",
        "jsonb @?",
        """SELECT id FROM documents WHERE data @? '$.labels[*] ? (@ == "k444")'""",
        ("documents USING gin (data)", "documents USING gin (data jsonb_path_ops)"),
    ),
    Case(
        "contained in",
        "arrays",
        "SELECT id FROM products WHERE tags @> ARRAY['seqdozed'] AND price > 5",
        ("products USING gin (tags)",),
    ),
    Case(
        "three equalities, $n",
        "several equalities",
        "SELECT id FROM audit_log WHERE entity = $1 AND action = $2 AND actor_id = $3",
        (
            "audit_log (actor_id)",
            *any_order("audit_log", "actor_id", "action"),
            *any_order("audit_log", "actor_id", "entity"),
            *any_order("audit_log", "actor_id", "entity", "action"),
        ),
        values="'token', 'export', 1999",
    ),
    Case(
        "two ranges and an equality",
        "equality and range",
        "SELECT id FROM tickets WHERE assignee_id = 1 AND updated_at > '2025-12-20Z' AND created_at > '2024-06-01Z'",
        ("tickets (assignee_id, updated_at)",),
        narrow=("tickets (assignee_id)", "tickets (assignee_id, created_at)"),
    ),
    Case(
        "sort without the limit's help",
        "equality",
        "SELECT id, total FROM orders WHERE customer_id = 52345 ORDER BY total DESC",
        ("orders (customer_id)",),
        wide=("orders (customer_id, total)",),
    ),
    Case(
        "IN and a sort",
        "IN",
        "SELECT id FROM logins WHERE username IN ('user29000', 'user28000') ORDER BY at DESC LIMIT 10",
        ("logins (username)",),
        wide=("logins (username, at)",),
    ),
    Case(
        "counted in a view",
        "view",
        "SELECT count(*) FROM customer_orders WHERE customer_id = 39999",
        ("orders (customer_id)",),
    ),
    Case(
        "row of two",
        "several equalities",
        "SELECT id FROM messages WHERE (sender_id, thread_id) = (5000, 20000)",
        ("messages (thread_id)", "messages (sender_id)", *any_order("messages", "sender_id", "thread_id")),
    ),
    Case(
        "smallest of a thread, biggest too",
        "min and max",
        "SELECT min(sent_at), max(sent_at) FROM messages WHERE sender_id = 1",
        (*either_way("messages", ["sender_id"], "sent_at"), "messages (sender_id) INCLUDE (sent_at)"),
        narrow=("messages (sender_id)",),
    ),
    Case(
        "in the last days",
        "range",
        "SELECT count(*) FROM invoices WHERE issued_on > date '2026-03-08'",
        ("invoices (issued_on)",),
    ),
)
