"""Find an owner's records by their last change: an index on a table in use, made without stopping writers."""

from alembic import op

revision = "0007_records_by_change"
down_revision = "0006_events_log"
branch_labels = None
depends_on = None

INDEX = "ix_records_owner_id_updated_at"


def upgrade() -> None:
    # CONCURRENTLY cannot run in a transaction; alembic commits before the block. It waits for older transactions, so it may
    # fail on the lock timeout and leave an invalid index: dropping first makes it safe to run again.
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, "records", if_exists=True, postgresql_concurrently=True)
        op.create_index(INDEX, "records", ["owner_id", "updated_at"], postgresql_concurrently=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, "records", if_exists=True, postgresql_concurrently=True)
