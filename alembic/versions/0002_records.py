"""Records: the example feature's table."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0002_records"
down_revision = "0001_accounts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "records",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("payload", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_records"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name="fk_records_owner_id_users", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("owner_id", "name", name="uq_records_owner_id_name"),
        sa.CheckConstraint("btrim(name) <> ''", name=op.f("ck_records_name_is_not_blank")),
        sa.CheckConstraint("cardinality(tags) <= 20", name=op.f("ck_records_tags_are_few")),
    )
    op.create_index("ix_records_owner_id_created_at_id", "records", ["owner_id", "created_at", "id"])
    op.create_index("ix_records_tags", "records", ["tags"], postgresql_using="gin")


def downgrade() -> None:
    op.drop_table("records")
