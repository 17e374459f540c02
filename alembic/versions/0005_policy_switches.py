"""What operators have set by hand: policies switched off, breakers isolated."""

import sqlalchemy as sa

from alembic import op

revision = "0005_policy_switches"
down_revision = "0004_credits"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policy_switches",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_policy_switches"),
        sa.CheckConstraint(
            "state IN ('on', 'off', 'auto', 'isolated', 'closed')",
            name=op.f("ck_policy_switches_state_is_known"),
        ),
    )


def downgrade() -> None:
    op.drop_table("policy_switches")
