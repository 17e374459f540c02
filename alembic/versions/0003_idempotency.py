"""Idempotency: results that are kept in the transaction of the work they answer for."""

import sqlalchemy as sa

from alembic import op

revision = "0003_idempotency"
down_revision = "0002_records"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "idempotency_results",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("result", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency_results"),
        sa.CheckConstraint("char_length(key) <= 200", name=op.f("ck_idempotency_results_key_is_short")),
    )
    op.create_index("ix_idempotency_results_expires_at", "idempotency_results", ["expires_at"])


def downgrade() -> None:
    op.drop_table("idempotency_results")
