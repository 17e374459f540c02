-- The tables of the benchmark: an imagined company's shop, help desk, logs and documents.
-- Nothing has an index but its key and what indexes.sql adds; what is missing is what the statements ask for.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE TABLE countries (code text PRIMARY KEY, name text NOT NULL, region text NOT NULL, vat numeric(4, 2) NOT NULL);
CREATE TABLE plans (id int PRIMARY KEY, name text NOT NULL, monthly_cents int NOT NULL);
CREATE TABLE feature_flags (id int PRIMARY KEY, key text NOT NULL, is_on boolean NOT NULL, owner text NOT NULL);

CREATE TABLE customers (
    id bigint PRIMARY KEY, email text NOT NULL UNIQUE, full_name text NOT NULL, country text NOT NULL, city text NOT NULL, phone text,
    is_active boolean NOT NULL, is_vip boolean NOT NULL, referred_by bigint, credit_limit numeric(10, 2) NOT NULL, birthday date NOT NULL,
    signup_at timestamptz NOT NULL, notes text
);
CREATE TABLE categories (id int PRIMARY KEY, parent_id int, path text NOT NULL, title text NOT NULL);
CREATE TABLE products (
    id bigint PRIMARY KEY, sku varchar(20) NOT NULL, name text NOT NULL, category_id int NOT NULL, brand text NOT NULL,
    price numeric(10, 2) NOT NULL, stock int NOT NULL, is_discontinued boolean NOT NULL, tags text[] NOT NULL, attributes jsonb NOT NULL,
    description text NOT NULL, search tsvector NOT NULL, created_at timestamptz NOT NULL
);
CREATE TABLE orders (
    id bigint PRIMARY KEY, customer_id bigint NOT NULL, status text NOT NULL, channel smallint NOT NULL,
    region smallint NOT NULL, total numeric(10, 2) NOT NULL, coupon text, tracking_code text NOT NULL, placed_at timestamptz NOT NULL,
    paid_at timestamptz, shipped_at timestamptz, comment text NOT NULL
);
CREATE TABLE order_items (
    id bigint PRIMARY KEY, order_id bigint NOT NULL, product_id bigint NOT NULL,
    quantity int NOT NULL, price numeric(10, 2) NOT NULL, is_returned boolean NOT NULL
);
CREATE TABLE tickets (
    id bigint PRIMARY KEY, tenant_id int NOT NULL, assignee_id int, requester_id int NOT NULL, state text NOT NULL, priority smallint NOT NULL,
    title text NOT NULL, external_ref text NOT NULL, labels text[] NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL,
    due_at timestamptz, closed_at timestamptz
);
CREATE TABLE messages (
    id bigint PRIMARY KEY, thread_id bigint NOT NULL, sender_id int NOT NULL, recipient_id int NOT NULL, body text NOT NULL,
    sent_at timestamptz NOT NULL, read_at timestamptz, deleted_at timestamptz
);
CREATE TABLE events (
    id bigint NOT NULL, tenant_id int NOT NULL, kind text NOT NULL, session_id uuid NOT NULL, user_id int NOT NULL, payload jsonb NOT NULL,
    occurred_at timestamptz NOT NULL, PRIMARY KEY (id, occurred_at)
) PARTITION BY RANGE (occurred_at);
CREATE TABLE events_2026_01 PARTITION OF events FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
CREATE TABLE events_2026_02 PARTITION OF events FOR VALUES FROM ('2026-02-01Z') TO ('2026-03-01Z');
CREATE TABLE events_2026_03 PARTITION OF events FOR VALUES FROM ('2026-03-01Z') TO ('2026-04-01Z');
CREATE TABLE events_2026_04 PARTITION OF events FOR VALUES FROM ('2026-04-01Z') TO ('2026-05-01Z');
CREATE TABLE audit_log (
    id bigint PRIMARY KEY, at timestamptz NOT NULL, actor_id int NOT NULL, entity text NOT NULL, entity_id bigint NOT NULL,
    action text NOT NULL, detail text NOT NULL
);
CREATE TABLE logins (
    id bigint PRIMARY KEY, username text NOT NULL, ip inet NOT NULL, is_ok boolean NOT NULL, user_agent text NOT NULL, at timestamptz NOT NULL
);
CREATE TABLE documents (
    id bigint PRIMARY KEY, owner_id int NOT NULL, title text NOT NULL, body text NOT NULL, data jsonb NOT NULL, version int NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE bookings (
    id bigint PRIMARY KEY, room_id int NOT NULL, guest_id int NOT NULL, during tstzrange NOT NULL, is_cancelled boolean NOT NULL, code text NOT NULL
);
CREATE TABLE places (
    id bigint PRIMARY KEY, name text NOT NULL, kind text NOT NULL, lat float8 NOT NULL, lon float8 NOT NULL, spot point NOT NULL, rating real NOT NULL
);
CREATE TABLE api_tokens (
    id bigint PRIMARY KEY, user_id int NOT NULL, token_hash text NOT NULL, is_revoked boolean NOT NULL, scope text NOT NULL,
    created_at timestamptz NOT NULL, expires_at timestamptz NOT NULL, last_used_at timestamptz
);
CREATE TABLE invoices (
    id bigint PRIMARY KEY, tenant_id int NOT NULL, number text NOT NULL, customer_email text NOT NULL, amount_cents int NOT NULL,
    currency text NOT NULL, issued_on date NOT NULL, due_on date NOT NULL, paid_at timestamptz, status text NOT NULL
);
CREATE TABLE jobs (
    id bigint PRIMARY KEY, queue text NOT NULL, state text NOT NULL, priority smallint NOT NULL, run_at timestamptz NOT NULL,
    attempts smallint NOT NULL, locked_by text, payload jsonb NOT NULL
);
CREATE TABLE "Legacy Orders" ("Id" bigint PRIMARY KEY, "customerId" int NOT NULL, "Created At" timestamptz NOT NULL, "Kind" text NOT NULL);
CREATE SCHEMA billing;
CREATE TABLE billing.charges (
    id bigint PRIMARY KEY, account_id int NOT NULL, provider text NOT NULL, reference text NOT NULL, amount_cents int NOT NULL,
    created_at timestamptz NOT NULL, is_disputed boolean NOT NULL
);

CREATE VIEW open_tickets AS SELECT * FROM tickets WHERE closed_at IS NULL;
CREATE VIEW customer_orders AS
    SELECT c.id AS customer_id, c.email, c.full_name, o.id AS order_id, o.status, o.total, o.placed_at
    FROM customers c JOIN orders o ON o.customer_id = c.id;
