"""The second set: what needs an index of another shape, or comes in another form than SELECT."""

from bench.advice._case import Case, any_order, either_way, gin_json, partial, prefix, trigram

CASES = (
    Case(
        "never bought",
        "anti join",
        "SELECT c.id FROM customers c WHERE c.id BETWEEN 59000 AND 59020 AND NOT EXISTS"
        " (SELECT 1 FROM orders o WHERE o.customer_id = c.id)",
        ("orders (customer_id)",),
    ),
    Case(
        "documents of a token's user",
        "subquery",
        "SELECT id, title FROM documents WHERE owner_id = (SELECT user_id FROM api_tokens WHERE id = 20)",
        ("documents (owner_id)", "documents USING hash (owner_id)"),
    ),
    Case(
        "two steps",
        "CTE",
        "WITH t AS (SELECT thread_id FROM messages WHERE id = 99) SELECT m.id FROM messages m JOIN t ON t.thread_id = m.thread_id",
        ("messages (thread_id)", "messages USING hash (thread_id)"),
    ),
    Case(
        "read a thread",
        "UPDATE",
        "UPDATE messages SET read_at = now() WHERE thread_id = 18000 AND read_at IS NULL",
        (
            "messages (thread_id)",
            *any_order("messages", "thread_id", "read_at"),
            *partial("messages", "read_at IS NULL", "thread_id"),
        ),
    ),
    Case(
        "forget an actor",
        "DELETE",
        "DELETE FROM audit_log WHERE actor_id = 1900",
        ("audit_log (actor_id)", "audit_log USING hash (actor_id)"),
    ),
    Case(
        "delete a product",
        "referenced key",
        "DELETE FROM products WHERE id = 59981",
        ("order_items (product_id)",),
        is_unseen_by_plan=True,
    ),
    Case(
        "open tickets of a requester through a view",
        "view",
        "SELECT id FROM open_tickets WHERE requester_id = 9999",
        (
            "tickets (requester_id)",
            "tickets USING hash (requester_id)",
            *any_order("tickets", "requester_id", "closed_at"),
            *partial("tickets", "closed_at IS NULL", "requester_id"),
        ),
    ),
    Case(
        "user name in small letters",
        "lower()",
        "SELECT count(*) FROM invoices WHERE lower(customer_email) = 'user.30000@mail.example'",
        ("invoices (lower(customer_email))", "invoices USING hash (lower(customer_email))"),
        narrow=("invoices (customer_email)",),
    ),
    Case(
        "year of birth",
        "expression",
        "SELECT id FROM customers WHERE extract(doy FROM birthday) = 60",
        ("customers (EXTRACT(doy FROM birthday))", "customers USING hash (EXTRACT(doy FROM birthday))"),
    ),
    Case(
        "undelivered and dear",
        "partial: IS NULL",
        "SELECT id FROM orders WHERE paid_at IS NULL AND total > 700",
        (
            "orders (paid_at, total)",
            "orders (total) WHERE paid_at IS NULL",
            *partial("orders", "paid_at IS NULL", "id", "paid_at"),
            "orders (paid_at)",
        ),
    ),
    Case(
        "returned items",
        "partial: boolean",
        "SELECT id, order_id FROM order_items WHERE is_returned",
        (
            "order_items (is_returned)",
            *partial("order_items", "is_returned", "id", "is_returned", "order_id"),
        ),
    ),
    Case(
        "purchases",
        "partial: rare literal",
        "SELECT id, user_id FROM events WHERE kind IN ('chargeback', 'purchase')",
        (
            "events (kind)",
            *partial("events", "kind IN ('chargeback', 'purchase')", "kind", "id", "occurred_at"),
        ),
    ),
    Case(
        "by phone or mail",
        "OR",
        "SELECT id FROM invoices WHERE number = 'INV-0055555' OR customer_email = 'User.20000@mail.example'",
        (("invoices (number)", "invoices (customer_email)"),),
        narrow=("invoices (customer_email)",),
    ),
    Case(
        "counted by a hot provider",
        "covering",
        "SELECT max(at) FROM audit_log WHERE actor_id = 2",
        (*either_way("audit_log", ["actor_id"], "at"), "audit_log (actor_id) INCLUDE (at)"),
    ),
    Case(
        "code in an object",
        "jsonb ->>",
        "SELECT id, name FROM products WHERE attributes #>> '{maker,code}' = 'M2500'",
        (
            "products ((attributes #>> '{maker,code}'))",
            "products USING hash ((attributes #>> '{maker,code}'))",
        ),
    ),
    Case(
        "labels inside",
        "jsonb @>",
        """SELECT id FROM documents WHERE data @> '{"labels": ["k123"]}'""",
        gin_json("documents", "data"),
    ),
    Case(
        "overlapping tags",
        "arrays",
        "SELECT id FROM products WHERE tags && ARRAY['seqdozed', 'sezedong']",
        ("products USING gin (tags)",),
    ),
    Case(
        "titles in full text, $1",
        "full text",
        "SELECT id FROM tickets WHERE to_tsvector('simple', title) @@ plainto_tsquery('simple', $1)",
        ("tickets USING gin (to_tsvector('simple'::regconfig, title))",),
        values="'ravinong'",
    ),
    Case(
        "middle of a tracking code",
        "trigram",
        "SELECT id FROM orders WHERE tracking_code LIKE '%48271%'",
        trigram("orders", "tracking_code"),
    ),
    Case(
        "part of a place in any case",
        "trigram",
        "SELECT id FROM places WHERE name ILIKE '%ZEDANT 17%'",
        trigram("places", "name"),
    ),
    Case(
        "first digits of a phone",
        "LIKE prefix",
        "SELECT id FROM customers WHERE phone LIKE '+98765%'",
        prefix("customers", "phone"),
    ),
    Case(
        "bookings of a stay",
        "range types",
        "SELECT id FROM bookings WHERE during <@ tstzrange('2025-01-10Z', '2025-01-12Z')",
        ("bookings USING gist (during)", "bookings USING spgist (during)"),
    ),
    Case(
        "same network or address",
        "inet",
        "SELECT count(*) FROM logins WHERE ip <<= '10.9.8.0/24'",
        ("logins (ip)", "logins USING gist (ip inet_ops)"),
    ),
    Case(
        "quoted, both",
        "quoted names",
        'SELECT "Id" FROM "Legacy Orders" WHERE "customerId" = 77 AND "Kind" = \'fax\'',
        ('"Legacy Orders" ("customerId")', *any_order('"Legacy Orders"', '"customerId"', '"Kind"')),
        narrow=('"Legacy Orders" ("Kind")',),
    ),
)
