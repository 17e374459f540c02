"""Second factors, their recovery codes, and sign-ins that wait for them."""

import sqlalchemy as sa

from alembic import op

revision = "0011_mfa"
down_revision = "0010_administration"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _factors()
    _recovery_codes()
    _challenges()


def _user(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_user_id_users"
    return sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=name, ondelete="CASCADE")


def _factors() -> None:
    op.create_table(
        "mfa_factors",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True)),
        sa.Column("last_step", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("user_id", name="pk_mfa_factors"),
        _user("mfa_factors"),
        sa.CheckConstraint("failures >= 0", name=op.f("ck_mfa_factors_failures_are_counted")),
        sa.CheckConstraint(
            "(failures = 0) = (failed_at IS NULL)", name=op.f("ck_mfa_factors_a_failure_has_a_time")
        ),
    )


def _recovery_codes() -> None:
    op.create_table(
        "mfa_recovery_codes",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("user_id", "hash", name="pk_mfa_recovery_codes"),
        _user("mfa_recovery_codes"),
        sa.CheckConstraint("octet_length(hash) = 32", name=op.f("ck_mfa_recovery_codes_hash_is_sha256")),
    )


def _challenges() -> None:
    op.create_table(
        "mfa_challenges",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("password_mark", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_mfa_challenges"),
        _user("mfa_challenges"),
        sa.CheckConstraint("octet_length(hash) = 32", name=op.f("ck_mfa_challenges_hash_is_sha256")),
    )
    op.create_index("ix_mfa_challenges_user_id", "mfa_challenges", ["user_id"])
    op.create_index("ix_mfa_challenges_expires_at", "mfa_challenges", ["expires_at"])


def downgrade() -> None:
    for table in ("mfa_challenges", "mfa_recovery_codes", "mfa_factors"):
        op.drop_table(table)
