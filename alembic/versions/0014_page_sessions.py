"""Sessions that a browser holds by a cookie."""

import sqlalchemy as sa

from alembic import op

revision = "0014_page_sessions"
down_revision = "0013_email_tokens"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "page_sessions",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_page_sessions"),
        sa.UniqueConstraint("session_id", name="uq_page_sessions_session_id"),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["auth_sessions.id"],
            name="fk_page_sessions_session_id_auth_sessions",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("octet_length(hash) = 32", name=op.f("ck_page_sessions_hash_is_sha256")),
    )


def downgrade() -> None:
    op.drop_table("page_sessions")
