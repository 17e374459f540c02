"""What statements cost, interval by interval, partitioned by month; and their texts."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0016_statement_samples"
down_revision = "0015_table_samples"
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
            'CREATE TABLE %I PARTITION OF monitor_statement_samples FOR VALUES FROM (%L) TO (%L)',
            'monitor_statement_samples_' || to_char(first, '"y"YYYY"m"MM'),
            first AT TIME ZONE 'UTC',
            (first + interval '1 month') AT TIME ZONE 'UTC'
        );
    END LOOP;
END
$$
"""
COUNTERS = (
    "calls",
    "exec_us",
    "plans",
    "plan_us",
    "io_us",
    "rows",
    "hit_blocks",
    "read_blocks",
    "dirtied_blocks",
    "temp_blocks",
    "wal_bytes",
)


def upgrade() -> None:
    op.create_table(
        "monitor_statement_samples",
        sa.Column("queryid", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("toplevel", sa.Boolean(), nullable=False),
        sa.Column("is_complete", sa.Boolean(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTERS),
        sa.Column("squares_ms2", sa.Double(), nullable=False),
        sa.Column("max_us", sa.BigInteger(), nullable=False),
        # PostgreSQL wants the partitions' column in every unique key.
        sa.PrimaryKeyConstraint("queryid", "at", "user_id", "toplevel", name="pk_monitor_statement_samples"),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index("ix_monitor_statement_samples_at", "monitor_statement_samples", ["at"])
    op.execute(PARTITIONS)
    op.create_table(
        "monitor_statements",
        sa.Column("queryid", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("routes", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("policies", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("queryid", name="pk_monitor_statements"),
    )
    op.create_index("ix_monitor_statements_last_seen", "monitor_statements", ["last_seen"])


def downgrade() -> None:
    op.drop_table("monitor_statements")
    op.drop_table("monitor_statement_samples")
