"""Links that were sent by e-mail, and since when a user's address is known to be his."""

import sqlalchemy as sa

from alembic import op

revision = "0013_email_tokens"
down_revision = "0012_api_keys"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.add_column("users", sa.Column("email_verified_at", moment))
    op.create_table(
        "email_tokens",
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("purpose", "owner", name="pk_email_tokens"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_email_tokens_user_id_users", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("hash", name="uq_email_tokens_hash"),
        sa.CheckConstraint(
            "purpose IN ('reset_password', 'verify_email', 'change_email', 'register')",
            name=op.f("ck_email_tokens_purpose_is_known"),
        ),
        sa.CheckConstraint(
            "(purpose = 'register') = (user_id IS NULL)",
            name=op.f("ck_email_tokens_only_who_registers_is_no_user"),
        ),
        sa.CheckConstraint("octet_length(hash) = 32", name=op.f("ck_email_tokens_hash_is_sha256")),
    )
    op.create_index("ix_email_tokens_user_id", "email_tokens", ["user_id"])
    op.create_index("ix_email_tokens_expires_at", "email_tokens", ["expires_at"])


def downgrade() -> None:
    op.drop_table("email_tokens")
    op.drop_column("users", "email_verified_at")
