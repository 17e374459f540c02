"""Credits: accounts, and the ledger that nobody changes."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0004_credits"
down_revision = "0003_idempotency"
branch_labels = None
depends_on = None

_KINDS = "('grant', 'debit', 'refund', 'expire', 'adjust')"
_REFUSE = """
CREATE FUNCTION credit_ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the credit ledger is append-only' USING ERRCODE = 'restrict_violation';
END $$
"""
_TRIGGER = """
CREATE TRIGGER credit_ledger_is_append_only BEFORE UPDATE OR DELETE ON credit_ledger
FOR EACH ROW EXECUTE FUNCTION credit_ledger_is_append_only()
"""


def upgrade() -> None:
    now = sa.func.now()
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "credit_accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("balance_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("burned_version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("plan", sa.Text(), server_default="default", nullable=False),
        sa.Column("time_zone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("created_at", instant, server_default=now, nullable=False),
        sa.Column("updated_at", instant, server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_credit_accounts"),
        sa.CheckConstraint("char_length(id) BETWEEN 1 AND 200", name=op.f("ck_credit_accounts_id_is_short")),
        sa.CheckConstraint(
            "balance_micro BETWEEN 0 AND 9007199254740991",
            name=op.f("ck_credit_accounts_balance_is_exact_everywhere"),
        ),
    )
    op.create_table(
        "credit_ledger",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_micro", sa.BigInteger(), nullable=False),
        sa.Column("overage_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("settlement_key", sa.Text(), nullable=False),
        sa.Column("refers_to", sa.Uuid(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("meta", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("at", instant, server_default=sa.func.clock_timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_credit_ledger"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["credit_accounts.id"], name="fk_credit_ledger_account_id_credit_accounts"
        ),
        sa.ForeignKeyConstraint(
            ["refers_to"], ["credit_ledger.id"], name="fk_credit_ledger_refers_to_credit_ledger"
        ),
        sa.UniqueConstraint("settlement_key", name="uq_credit_ledger_settlement_key"),
        sa.UniqueConstraint("account_id", "version", name="uq_credit_ledger_account_id_version"),
        sa.CheckConstraint(f"kind IN {_KINDS}", name=op.f("ck_credit_ledger_kind_is_known")),
        sa.CheckConstraint(
            "CASE WHEN kind IN ('grant', 'refund') THEN amount_micro > 0"
            " WHEN kind IN ('debit', 'expire') THEN amount_micro <= 0 ELSE true END",
            name=op.f("ck_credit_ledger_sign_fits_the_kind"),
        ),
        sa.CheckConstraint(
            "overage_micro >= 0 AND (overage_micro = 0 OR kind = 'debit')",
            name=op.f("ck_credit_ledger_only_debits_have_overage"),
        ),
    )
    op.create_index("ix_credit_ledger_account_id_at", "credit_ledger", ["account_id", "at"])
    op.create_index(
        "ix_credit_ledger_refers_to",
        "credit_ledger",
        ["refers_to"],
        postgresql_where=sa.text("refers_to IS NOT NULL"),
    )
    op.create_table(
        "credit_grants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("remaining_micro", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("is_paid", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("expires_at", instant, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_credit_grants"),
        sa.ForeignKeyConstraint(["id"], ["credit_ledger.id"], name="fk_credit_grants_id_credit_ledger"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["credit_accounts.id"], name="fk_credit_grants_account_id_credit_accounts"
        ),
        sa.CheckConstraint("remaining_micro >= 0", name=op.f("ck_credit_grants_remaining_is_not_negative")),
        sa.CheckConstraint("priority BETWEEN 0 AND 100", name=op.f("ck_credit_grants_priority_is_in_range")),
    )
    op.create_index(
        "ix_credit_grants_account_id",
        "credit_grants",
        ["account_id"],
        postgresql_where=sa.text("remaining_micro > 0"),
    )
    op.create_index(
        "ix_credit_grants_expires_at",
        "credit_grants",
        ["expires_at"],
        postgresql_where=sa.text("remaining_micro > 0 AND expires_at IS NOT NULL"),
    )
    op.execute(_REFUSE)
    op.execute(_TRIGGER)


def downgrade() -> None:
    op.drop_table("credit_grants")
    op.drop_table("credit_ledger")
    op.drop_table("credit_accounts")
    op.execute("DROP FUNCTION credit_ledger_is_append_only()")
