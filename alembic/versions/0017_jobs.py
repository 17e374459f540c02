"""Background jobs, and the workers that run them."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0017_jobs"
down_revision = "0016_statement_samples"
branch_labels = None
depends_on = None


def upgrade() -> None:
    now = sa.text("now()")
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("tenant_id", sa.Text(), nullable=True),
        sa.Column("submitter", postgresql.JSONB(), nullable=True),
        sa.Column("arguments", postgresql.JSONB(), nullable=False),
        sa.Column("status", sa.Text(), server_default="queued", nullable=False),
        # Indexes know these and not the status itself, which every claim changes.
        sa.Column(
            "is_open",
            sa.Boolean(),
            sa.Computed("status = ANY (ARRAY['queued'::text, 'running'::text])", persisted=True),
            nullable=False,
        ),
        sa.Column(
            "has_failed",
            sa.Boolean(),
            sa.Computed("status = ANY (ARRAY['failed'::text, 'dead'::text])", persisted=True),
            nullable=False,
        ),
        sa.Column("is_dead", sa.Boolean(), sa.Computed("status = 'dead'", persisted=True), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("max_attempts", sa.SmallInteger(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("result", postgresql.JSONB(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("unique_key", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("webhook_id", sa.Uuid(), nullable=True),
        sa.Column("is_charged", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("charge_no", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("cost_micro", sa.BigInteger(), nullable=True),
        sa.Column("worker_id", sa.Uuid(), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("publish_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("run_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'dead')",
            name=op.f("ck_jobs_status_is_known"),
        ),
        sa.CheckConstraint("priority IN ('high', 'normal', 'low')", name=op.f("ck_jobs_priority_is_known")),
        sa.CheckConstraint("progress BETWEEN 0 AND 1", name=op.f("ck_jobs_progress_is_a_fraction")),
        sa.CheckConstraint(
            "(status = 'running') = (worker_id IS NOT NULL)", name=op.f("ck_jobs_running_has_a_worker")
        ),
        # One row that cannot be read would keep all that are read with it from being claimed, or recovered.
        sa.CheckConstraint(
            """submitter IS NULL OR (
                jsonb_typeof(submitter->'id') = 'string' AND jsonb_typeof(submitter->'scopes') = 'array'
                AND jsonb_typeof(submitter->'roles') = 'array' AND jsonb_typeof(submitter->'tenant_id') IN ('string', 'null')
            ) IS TRUE""",
            name=op.f("ck_jobs_submitter_is_readable"),
        ),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        # Room on each page for the second version of a row, which a claim writes.
        postgresql_with={"fillfactor": 50},
    )
    for name, columns, where in (
        ("ix_jobs_owner_id", ["owner", "id"], "owner IS NOT NULL"),
        ("ix_jobs_publish_at", ["publish_at"], "publish_at IS NOT NULL"),
        ("ix_jobs_queue_id", ["queue", "id"], "is_open"),
        ("ix_jobs_queue_published_at", ["queue", "published_at"], "is_open AND publish_at IS NULL"),
        ("ix_jobs_queue_dead", ["queue", "id"], "is_dead"),
        ("ix_jobs_failed", ["id"], "has_failed"),
    ):
        op.create_index(name, "jobs", columns, postgresql_where=sa.text(where))
    op.create_index(
        "uq_jobs_name_unique_key",
        "jobs",
        ["name", "unique_key"],
        unique=True,
        postgresql_where=sa.text("unique_key IS NOT NULL AND is_open"),
    )
    op.create_table(
        "job_workers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("queues", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("processes", sa.Integer(), nullable=False),
        sa.Column("running", sa.Integer(), server_default="0", nullable=False),
        sa.Column("is_gone", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_job_workers"),
    )


def downgrade() -> None:
    op.drop_table("job_workers")
    op.drop_table("jobs")
