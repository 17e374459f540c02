"""The second set: statements that no adviser was tuned to. Score with them; do not read them to make rules."""

from bench.advice import _heldout_forms, _heldout_needed, _heldout_shaped, _heldout_still
from bench.advice._case import Case

_NONE = (
    Case(
        "a plan",
        "tiny",
        "SELECT * FROM plans WHERE monthly_cents > 500 ORDER BY monthly_cents",
        tries=("plans (monthly_cents)",),
    ),
    Case(
        "a country by name in small letters",
        "tiny",
        "SELECT code FROM countries WHERE lower(name) = 'country 5'",
        tries=("countries (lower(name))",),
    ),
    Case(
        "flags through a key",
        "tiny",
        "SELECT f.key FROM feature_flags f JOIN plans p ON p.id = f.id WHERE p.name = 'team'",
        tries=("plans (name)",),
    ),
    Case(
        "finished jobs",
        "unselective",
        "SELECT id, queue, payload FROM jobs WHERE state = 'done'",
        tries=("jobs (state)",),
    ),
    Case(
        "paid invoices of two currencies",
        "unselective",
        "SELECT sum(amount_cents) FROM invoices WHERE currency IN ('EUR', 'USD')",
        tries=("invoices (currency)",),
    ),
    Case(
        "good log-ins",
        "unselective",
        "SELECT username, count(*) FROM logins WHERE is_ok GROUP BY username",
        tries=("logins (is_ok)",),
    ),
    Case(
        "nearly all documents, $1",
        "unselective",
        "SELECT id, body FROM documents WHERE version <= $1",
        values="12",
        tries=("documents (version)",),
    ),
    Case(
        "a common letter",
        "trigram too short",
        "SELECT id, name FROM places WHERE name ILIKE '%a%'",
        tries=("places USING gin (name gin_trgm_ops)",),
    ),
    Case(
        "count of a partition",
        "count(*)",
        "SELECT count(*) FROM events_2026_03",
        tries=("events_2026_03 (user_id, kind)",),
    ),
    Case(
        "a ticket by key",
        "covered",
        "SELECT title FROM tickets WHERE id = $1 AND tenant_id = $2",
        values="77, 5",
        tries=("tickets (tenant_id, id)",),
    ),
    Case(
        "a tenant between two days",
        "covered",
        "SELECT id FROM tickets WHERE tenant_id = 9 AND created_at BETWEEN '2025-01-01Z' AND '2025-02-01Z' ORDER BY created_at",
        tries=("tickets (created_at)", "tickets (tenant_id)"),
    ),
    Case(
        "a queue's failures",
        "covered: prefix",
        "SELECT id FROM jobs WHERE queue = 'q7' AND state = 'failed'",
        tries=("jobs (queue, state)", "jobs (state)"),
    ),
    Case(
        "an invoice number, $n",
        "covered",
        "SELECT * FROM invoices WHERE tenant_id = $1 AND number = $2",
        values="9, 'INV-0000100'",
        tries=("invoices (number)",),
    ),
    Case(
        "unpaid by due day",
        "covered: partial",
        "SELECT id FROM invoices WHERE paid_at IS NULL ORDER BY due_on LIMIT 20",
        tries=("invoices (due_on)",),
    ),
    Case(
        "a morning of the log",
        "covered: BRIN",
        "SELECT actor_id FROM audit_log WHERE at BETWEEN '2025-07-01 06:00Z' AND '2025-07-01 12:00Z'",
        tries=("audit_log (at)",),
    ),
    Case(
        "month of a message",
        "rewrite: date_trunc",
        "SELECT count(*) FROM messages WHERE date_trunc('day', sent_at) = '2025-07-01Z'",
        tries=("messages (sent_at)",),
    ),
    Case(
        "zone of a charge",
        "rewrite: cast",
        "SELECT id FROM billing.charges WHERE created_at::date = current_date",
        tries=("billing.charges (created_at)",),
    ),
    Case(
        "label among, $1",
        "rewrite: ANY(column)",
        "SELECT id FROM products WHERE $1 = ANY(tags)",
        values="'seqdozed'",
        tries=("products USING gin (tags)",),
    ),
    Case(
        "account times two",
        "rewrite: arithmetic",
        "SELECT id FROM billing.charges WHERE account_id * 2 = 8000",
        tries=("billing.charges (account_id)",),
    ),
    Case(
        "customer as a decimal",
        "rewrite: numeric",
        "SELECT id FROM orders WHERE customer_id = 5.0::numeric",
        tries=("orders (customer_id)",),
    ),
    Case(
        "all but closed kinds",
        "unselective: NOT IN",
        "SELECT id, title FROM tickets WHERE tenant_id NOT IN (1, 2)",
        tries=("tickets (tenant_id)", "tickets (id) WHERE tenant_id NOT IN (1, 2)"),
    ),
    Case(
        "fence around tickets",
        "MATERIALIZED",
        "WITH t AS MATERIALIZED (SELECT id, assignee_id FROM tickets) SELECT id FROM t WHERE assignee_id = 77",
        tries=("tickets (assignee_id)",),
    ),
    Case(
        "two times compared",
        "column against column",
        "SELECT id FROM tickets WHERE closed_at < created_at",
        tries=("tickets (closed_at)", "tickets (created_at)"),
    ),
    Case(
        "group all orders",
        "unselective",
        "SELECT customer_id, max(total), max(comment) FROM orders GROUP BY customer_id",
        tries=("orders (customer_id)",),
    ),
    Case(
        "new job",
        "INSERT",
        "INSERT INTO jobs (id, queue, state, priority, run_at, attempts, payload) SELECT 900000001, 'q1', 'queued', 1, now(), 0, '{}'",
        tries=("jobs (state)",),
    ),
    Case("sample", "constant", "SELECT count(*) FROM generate_series(1, 100)"),
)
_REFUSED = {
    "ANALYZE": "ANALYZE orders",
    "REINDEX": "REINDEX TABLE orders",
    "GRANT": "GRANT SELECT ON orders TO public",
    "role": "CREATE ROLE somebody PASSWORD 'secret'",
    "materialized view": "CREATE MATERIALIZED VIEW m AS SELECT 1 AS one",
    "stacked harmless": "SELECT 1; SELECT 2",
    "smuggled option": "(ANALYZE) DELETE FROM plans",
    "SHOW": "SHOW all",
    "unknown function": "SELECT no_such_function(id) FROM orders",
    "unknown schema": "SELECT * FROM nowhere.orders",
    "unclosed quote": "SELECT * FROM orders WHERE status = 'open",
    "LISTEN": "LISTEN x",
}
CASES = (
    *_heldout_needed.CASES,
    *_heldout_shaped.CASES,
    *_heldout_forms.CASES,
    *_heldout_still.CASES,
    *_NONE,
    *(Case(name, "refused", sql, is_refused=True) for name, sql in _REFUSED.items()),
)
