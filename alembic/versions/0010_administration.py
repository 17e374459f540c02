"""Users can be found by their roles, leave a trace when they are deleted, and the audit log refuses TRUNCATE too."""

import sqlalchemy as sa

from alembic import op

revision = "0010_administration"
down_revision = "0009_audit"
branch_labels = None
depends_on = None

_REMEMBER = """
CREATE FUNCTION users_remember_who_was_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deleted_users (id, deleted_at) VALUES (OLD.id, now())
        ON CONFLICT (id) DO UPDATE SET deleted_at = excluded.deleted_at;
    RETURN NULL;
END $$
"""
_AFTER_DELETE = """
CREATE TRIGGER users_remember_who_was_deleted AFTER DELETE ON users
FOR EACH ROW EXECUTE FUNCTION users_remember_who_was_deleted()
"""
_NO_TRUNCATE = """
CREATE TRIGGER audit_events_is_not_truncated BEFORE TRUNCATE ON audit_events
FOR EACH STATEMENT EXECUTE FUNCTION audit_events_is_append_only()
"""


def upgrade() -> None:
    op.create_index("ix_users_roles", "users", ["roles"], postgresql_using="gin")
    op.create_table(
        "deleted_users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deleted_users"),
    )
    op.create_index("ix_deleted_users_deleted_at", "deleted_users", ["deleted_at"])
    op.execute(_REMEMBER)
    op.execute(_AFTER_DELETE)
    op.create_index("ix_audit_events_actor_id_id", "audit_events", ["actor_id", "id"])
    op.create_index("ix_audit_events_at", "audit_events", ["at"])
    op.execute(_NO_TRUNCATE)


def downgrade() -> None:
    op.execute("DROP TRIGGER audit_events_is_not_truncated ON audit_events")
    op.drop_index("ix_audit_events_at", "audit_events")
    op.drop_index("ix_audit_events_actor_id_id", "audit_events")
    op.execute("DROP TRIGGER users_remember_who_was_deleted ON users")
    op.execute("DROP FUNCTION users_remember_who_was_deleted()")
    op.drop_table("deleted_users")
    op.drop_index("ix_users_roles", "users")
