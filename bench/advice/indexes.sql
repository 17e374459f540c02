-- After the rows, because that is quicker: foreign keys, and the few indexes that somebody has made already.
ALTER TABLE categories ADD FOREIGN KEY (parent_id) REFERENCES categories;
ALTER TABLE products ADD FOREIGN KEY (category_id) REFERENCES categories;
ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers;
ALTER TABLE order_items ADD FOREIGN KEY (order_id) REFERENCES orders;
ALTER TABLE order_items ADD FOREIGN KEY (product_id) REFERENCES products;
CREATE INDEX tickets_tenant_created ON tickets (tenant_id, created_at);
CREATE INDEX audit_log_at ON audit_log USING brin (at) WITH (pages_per_range = 16);
CREATE INDEX api_tokens_hash ON api_tokens USING hash (token_hash);
CREATE INDEX api_tokens_revoked_user ON api_tokens (is_revoked, user_id);
CREATE UNIQUE INDEX invoices_tenant_number ON invoices (tenant_id, number);
CREATE INDEX invoices_unpaid ON invoices (due_on) WHERE paid_at IS NULL;
CREATE INDEX jobs_queue_state_run ON jobs (queue, state, run_at);
