"""A log of what happened, partitioned by month."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0006_events_log"
down_revision = "0005_policy_switches"
branch_labels = None
depends_on = None

# This month and three more; the service makes the next ones (core/db/_partitions.py). In SQL, so that it can be printed.
PARTITIONS = """
DO $$
DECLARE
    first timestamp;
BEGIN
    FOR n IN 0..3 LOOP
        first := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n);
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF events_log FOR VALUES FROM (%L) TO (%L)',
            'events_log_' || to_char(first, '"y"YYYY"m"MM'),
            first AT TIME ZONE 'UTC',
            (first + interval '1 month') AT TIME ZONE 'UTC'
        );
    END LOOP;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "events_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(100), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("data", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        # PostgreSQL wants the partitions' column in every unique key.
        sa.PrimaryKeyConstraint("id", "created_at", name="pk_events_log"),
        postgresql_partition_by="RANGE (created_at)",
    )
    op.create_index("ix_events_log_kind_created_at", "events_log", ["kind", "created_at"])
    op.execute(PARTITIONS)


def downgrade() -> None:
    op.drop_table("events_log")
