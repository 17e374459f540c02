"""A service for many tenants: tickets, messages, invoices, jobs, charges, tokens."""

from bench.advice._case import Case, any_order, either_way, partial

CASES = (
    Case(
        "my tickets",
        "several equalities",
        "SELECT id, title FROM tickets WHERE tenant_id = 120 AND assignee_id = 1500",
        ("tickets (assignee_id)", *any_order("tickets", "tenant_id", "assignee_id")),
        narrow=("tickets (tenant_id)",),
    ),
    Case(
        "by external reference, $n",
        "several equalities",
        "SELECT id FROM tickets WHERE tenant_id = $1 AND external_ref = $2",
        (
            "tickets (external_ref)",
            "tickets USING hash (external_ref)",
            *any_order("tickets", "tenant_id", "external_ref"),
        ),
        values="3, 'EXT-007907-1'",
    ),
    Case(
        "escalated of a big tenant",
        "several equalities",
        "SELECT id FROM tickets WHERE tenant_id = 1 AND state = 'escalated'",
        (
            "tickets (state)",
            *any_order("tickets", "tenant_id", "state"),
            *partial("tickets", "state = 'escalated'", "tenant_id", "id", "created_at", "state"),
        ),
    ),
    Case(
        "requester, $1",
        "equality",
        "SELECT * FROM tickets WHERE requester_id = $1",
        ("tickets (requester_id)", "tickets USING hash (requester_id)"),
        values="777",
        wide=("tickets (requester_id, created_at)",),
    ),
    Case(
        "lately changed of a tenant",
        "equality and range",
        "SELECT id FROM tickets WHERE tenant_id = 2 AND updated_at > '2026-01-08Z'",
        ("tickets (tenant_id, updated_at)",),
        narrow=("tickets (tenant_id)",),
    ),
    Case(
        "lately changed",
        "range",
        "SELECT id, tenant_id FROM tickets WHERE updated_at > '2026-01-10Z'",
        ("tickets (updated_at)",),
        wide=("tickets (updated_at, tenant_id)",),
    ),
    Case(
        "tickets of an assignee, newest first",
        "equality, sort and limit",
        "SELECT id, title FROM tickets WHERE assignee_id = 1 ORDER BY updated_at DESC LIMIT 20",
        either_way("tickets", ["assignee_id"], "updated_at"),
        narrow=("tickets (assignee_id)", "tickets (updated_at)"),
    ),
    Case(
        "lately changed of a tenant, a page, $1",
        "equality, sort and limit",
        "SELECT * FROM tickets WHERE tenant_id = $1 ORDER BY updated_at DESC LIMIT 50",
        either_way("tickets", ["tenant_id"], "updated_at"),
        values="1",
        narrow=("tickets (updated_at)",),
    ),
    Case(
        "open tickets through a view",
        "view",
        "SELECT id, title FROM open_tickets WHERE assignee_id = 900",
        (
            "tickets (assignee_id)",
            *any_order("tickets", "assignee_id", "closed_at"),
            *partial("tickets", "closed_at IS NULL", "assignee_id"),
        ),
    ),
    Case(
        "not closed, escalated or waiting",
        "partial: IS NULL",
        "SELECT id, title FROM tickets WHERE closed_at IS NULL AND state = 'waiting' AND priority = 5",
        (
            "tickets (state)",
            *any_order("tickets", "state", "priority"),
            *partial(
                "tickets", "closed_at IS NULL", "state", "priority", "state, priority", "priority, state"
            ),
            *partial("tickets", "state = 'waiting'", "priority"),
            "tickets (state, closed_at)",
            *partial("tickets", "state = 'waiting' AND closed_at IS NULL", "priority"),
            *any_order("tickets", "closed_at", "priority"),
            *any_order("tickets", "closed_at", "state", "priority"),
        ),
    ),
    Case(
        "all that is not closed",
        "partial: <>",
        "SELECT id, title FROM tickets WHERE state NOT IN ('closed', 'open') AND due_at < '2024-03-01Z'",
        (
            *partial("tickets", "state NOT IN ('closed', 'open')", "due_at"),
            *partial("tickets", "state <> ALL (ARRAY['closed', 'open'])", "due_at"),
        ),
        narrow=("tickets (state)", "tickets (due_at)"),
    ),
    Case(
        "undone jobs by time",
        "partial: <>",
        "SELECT id, queue FROM jobs WHERE state <> 'done' ORDER BY run_at LIMIT 50",
        ("jobs (run_at) WHERE state <> 'done'", "jobs (run_at DESC) WHERE state <> 'done'"),
        narrow=("jobs (run_at)",),
    ),
    Case(
        "jobs of a worker",
        "equality",
        "SELECT id FROM jobs WHERE locked_by = 'worker-7'",
        ("jobs (locked_by)", "jobs USING hash (locked_by)", "jobs (locked_by) WHERE locked_by IS NOT NULL"),
    ),
    Case(
        "next jobs by priority",
        "equality, sort and limit",
        "SELECT id FROM jobs WHERE state = 'failed' ORDER BY priority DESC, run_at LIMIT 10",
        (
            *either_way("jobs", ["state"], "priority DESC, run_at"),
            *partial("jobs", "state = 'failed'", "priority DESC, run_at", "priority, run_at DESC"),
        ),
        narrow=("jobs (state)",),
    ),
    Case(
        "a thread",
        "equality, sort and limit",
        "SELECT id, body FROM messages WHERE thread_id = 17000 ORDER BY sent_at LIMIT 50",
        ("messages (thread_id)", *either_way("messages", ["thread_id"], "sent_at")),
    ),
    Case(
        "a thread, $1",
        "equality",
        "SELECT count(*) FROM messages WHERE thread_id = $1",
        ("messages (thread_id)", "messages USING hash (thread_id)"),
        values="21000",
    ),
    Case(
        "unread of somebody",
        "partial: IS NULL",
        "SELECT id, sender_id FROM messages WHERE recipient_id = 4000 AND read_at IS NULL",
        (
            "messages (recipient_id)",
            *any_order("messages", "recipient_id", "read_at"),
            *partial("messages", "read_at IS NULL", "recipient_id"),
        ),
    ),
    Case(
        "unread of all",
        "partial: IS NULL",
        "SELECT id, recipient_id FROM messages WHERE read_at IS NULL AND deleted_at IS NULL ORDER BY sent_at LIMIT 100",
        (
            *partial("messages", "read_at IS NULL", "sent_at", "sent_at DESC"),
            *partial("messages", "read_at IS NULL AND deleted_at IS NULL", "sent_at", "sent_at DESC"),
        ),
        narrow=(
            "messages (deleted_at)",
            "messages (read_at, sent_at)",
            "messages (read_at, deleted_at, sent_at)",
        ),
    ),
    Case(
        "from or to somebody",
        "OR",
        "SELECT id FROM messages WHERE sender_id = 3500 OR recipient_id = 3500",
        (("messages (sender_id)", "messages (recipient_id)"),),
        narrow=("messages (sender_id)", "messages (recipient_id)"),
    ),
    Case(
        "from one to another",
        "several equalities",
        "SELECT id, body FROM messages WHERE sender_id = 4321 AND recipient_id = 1234",
        (
            "messages (sender_id)",
            "messages (recipient_id)",
            *any_order("messages", "sender_id", "recipient_id"),
        ),
    ),
    Case(
        "last message of a sender, $1",
        "equality, sort and limit",
        "SELECT id, sent_at FROM messages WHERE sender_id = $1 ORDER BY sent_at DESC LIMIT 1",
        (*either_way("messages", ["sender_id"], "sent_at"), "messages (sender_id)"),
        values="7000",
    ),
    Case(
        "forget somebody", "DELETE", "DELETE FROM messages WHERE sender_id = 6001", ("messages (sender_id)",)
    ),
    Case(
        "messages of one thread's people",
        "subquery",
        "SELECT id FROM messages WHERE sender_id IN (SELECT sender_id FROM messages WHERE id = 70001)",
        ("messages (sender_id)",),
    ),
    Case(
        "invoices of a mail address",
        "equality",
        "SELECT number, amount_cents FROM invoices WHERE customer_email = 'User.31000@mail.example'",
        ("invoices (customer_email)", "invoices USING hash (customer_email)"),
    ),
    Case(
        "invoice by number alone",
        "equality",
        "SELECT id, status FROM invoices WHERE number = 'INV-0044444'",
        ("invoices (number)", "invoices USING hash (number)"),
        below=180000,
    ),
    Case(
        "invoices of a week",
        "range",
        "SELECT id, tenant_id FROM invoices WHERE issued_on >= '2025-03-01' AND issued_on < '2025-03-05'",
        ("invoices (issued_on)", "invoices USING brin (issued_on)"),
        wide=("invoices (issued_on, tenant_id)",),
    ),
    Case(
        "written off in dollars",
        "several equalities",
        "SELECT id FROM invoices WHERE status = 'written_off' AND currency = 'SEK'",
        (
            "invoices (status)",
            *any_order("invoices", "status", "currency"),
            *partial("invoices", "status = 'written_off'", "currency", "id", "status"),
        ),
    ),
    Case(
        "invoices of a tenant by date",
        "equality, sort and limit",
        "SELECT id, number FROM invoices WHERE tenant_id = 1 ORDER BY issued_on DESC, id DESC LIMIT 20",
        (
            *either_way("invoices", ["tenant_id"], "issued_on, id"),
            *either_way("invoices", ["tenant_id"], "issued_on"),
            *either_way("invoices", [], "issued_on"),
            *either_way("invoices", [], "issued_on, id"),
        ),
    ),
    Case(
        "charges of an account",
        "equality",
        "SELECT * FROM billing.charges WHERE account_id = 7777",
        ("billing.charges (account_id)", "billing.charges USING hash (account_id)"),
    ),
    Case(
        "charge by reference, $1",
        "equality",
        "SELECT id, amount_cents FROM billing.charges WHERE reference = $1",
        ("billing.charges (reference)", "billing.charges USING hash (reference)"),
        values="'ch_c81e728d9d4c2f636f067f89cc14862c'",
    ),
    Case(
        "disputed charges",
        "partial: boolean",
        "SELECT id, amount_cents FROM billing.charges WHERE is_disputed = true ORDER BY created_at DESC LIMIT 20",
        (
            *either_way("billing.charges", ["is_disputed"], "created_at"),
            *partial("billing.charges", "is_disputed", "created_at", "created_at DESC", "id", "is_disputed"),
            "billing.charges (is_disputed)",
        ),
    ),
    Case(
        "charges of an account since, $n",
        "equality and range",
        "SELECT sum(amount_cents) FROM billing.charges WHERE account_id = $1 AND created_at > $2",
        ("billing.charges (account_id)", "billing.charges (account_id, created_at)"),
        values="9000, '2025-11-01Z'",
    ),
    Case(
        "tokens that end soon",
        "range",
        "SELECT id FROM api_tokens WHERE expires_at BETWEEN '2025-03-01Z' AND '2025-03-01 12:00Z'",
        ("api_tokens (expires_at)",),
    ),
    Case(
        "clear old tokens",
        "DELETE",
        "DELETE FROM api_tokens WHERE expires_at < '2025-01-02Z'",
        ("api_tokens (expires_at)",),
    ),
)
