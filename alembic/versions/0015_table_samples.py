"""How large tables were, partitioned by month."""

import sqlalchemy as sa

from alembic import op

revision = "0015_table_samples"
down_revision = "0014_page_sessions"
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
            'CREATE TABLE %I PARTITION OF monitor_table_samples FOR VALUES FROM (%L) TO (%L)',
            'monitor_table_samples_' || to_char(first, '"y"YYYY"m"MM'),
            first AT TIME ZONE 'UTC',
            (first + interval '1 month') AT TIME ZONE 'UTC'
        );
    END LOOP;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "monitor_table_samples",
        sa.Column("schema_name", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heap_bytes", sa.BigInteger(), nullable=False),
        sa.Column("index_bytes", sa.BigInteger(), nullable=False),
        sa.Column("toast_bytes", sa.BigInteger(), nullable=False),
        sa.Column("row_count", sa.BigInteger()),
        # Samples are looked up by table and read in the order of their times.
        sa.PrimaryKeyConstraint("schema_name", "table_name", "taken_at", name="pk_monitor_table_samples"),
        postgresql_partition_by="RANGE (taken_at)",
    )
    op.execute(PARTITIONS)


def downgrade() -> None:
    op.drop_table("monitor_table_samples")
