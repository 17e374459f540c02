"""The tables of credits. Amounts are whole micro-credits.

At every commit: an account's balance is the sum of its ledger entries, and its version that of the last one.
"""

from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    SmallInteger,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, validates

from app.core.db import Base, Timestamps, UUIDPrimaryKey

Kind = Literal["grant", "debit", "refund", "expire", "adjust"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_KIND_LIST = ", ".join(f"'{kind}'" for kind in KINDS)


class CreditAccount(Timestamps, Base):
    """One owner's credits. ``id`` is what his tokens carry as subject.

    No reference to ``users``: an owner may come from another issuer, and what was charged outlives the user. ``burned_version`` is how far
    the ledger has been counted against the grants (see ``CreditGrant``).
    """

    __tablename__ = "credit_accounts"
    __table_args__ = (
        CheckConstraint("char_length(id) BETWEEN 1 AND 200", name="id_is_short"),
        # Valkey's scripts count in doubles, which are exact up to here.
        CheckConstraint("balance_micro BETWEEN 0 AND 9007199254740991", name="balance_is_exact_everywhere"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    balance_micro: Mapped[int] = mapped_column(BigInteger, server_default="0")
    version: Mapped[int] = mapped_column(BigInteger, server_default="0")
    burned_version: Mapped[int] = mapped_column(BigInteger, server_default="0")
    plan: Mapped[str] = mapped_column(server_default="default")
    time_zone: Mapped[str] = mapped_column(server_default="UTC")

    @validates("time_zone")
    def _check_zone(self, _: str, name: str) -> str:
        return checked_zone(name)


class CreditEntry(UUIDPrimaryKey, Base):
    """One line of the ledger; the database refuses to change or delete it.

    ``version`` counts an account's entries in the order in which they took effect. ``overage_micro`` is what a debit could not take
    because the balance had ended; it is no part of the balance. ``refers_to`` is the debit that a refund gives back, or the grant that an
    expiry ends.
    """

    __tablename__ = "credit_ledger"
    __table_args__ = (
        UniqueConstraint("settlement_key"),
        UniqueConstraint("account_id", "version", name="uq_credit_ledger_account_id_version"),
        CheckConstraint(f"kind IN ({_KIND_LIST})", name="kind_is_known"),
        CheckConstraint(
            "CASE WHEN kind IN ('grant', 'refund') THEN amount_micro > 0"
            " WHEN kind IN ('debit', 'expire') THEN amount_micro <= 0 ELSE true END",
            name="sign_fits_the_kind",
        ),
        CheckConstraint(
            "overage_micro >= 0 AND (overage_micro = 0 OR kind = 'debit')", name="only_debits_have_overage"
        ),
        Index("ix_credit_ledger_account_id_at", "account_id", "at"),
        Index("ix_credit_ledger_refers_to", "refers_to", postgresql_where=text("refers_to IS NOT NULL")),
    )

    account_id: Mapped[str] = mapped_column(ForeignKey("credit_accounts.id"))
    version: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column()
    amount_micro: Mapped[int] = mapped_column(BigInteger)
    overage_micro: Mapped[int] = mapped_column(BigInteger, server_default="0")
    settlement_key: Mapped[str] = mapped_column()
    refers_to: Mapped[UUID | None] = mapped_column(ForeignKey("credit_ledger.id"))
    request_id: Mapped[str | None] = mapped_column()
    meta: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class CreditGrant(Base):
    """What is left of a positive entry, as of its account's ``burned_version``; ``id`` is the entry's.

    Debits do not touch grants: which of them a debit burned is only asked when one expires, and counted then from the ledger.
    """

    __tablename__ = "credit_grants"
    __table_args__ = (
        CheckConstraint("remaining_micro >= 0", name="remaining_is_not_negative"),
        CheckConstraint("priority BETWEEN 0 AND 100", name="priority_is_in_range"),
        Index("ix_credit_grants_account_id", "account_id", postgresql_where=text("remaining_micro > 0")),
        Index(
            "ix_credit_grants_expires_at",
            "expires_at",
            postgresql_where=text("remaining_micro > 0 AND expires_at IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(ForeignKey("credit_ledger.id"), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("credit_accounts.id"))
    version: Mapped[int] = mapped_column(BigInteger)
    remaining_micro: Mapped[int] = mapped_column(BigInteger)
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    is_paid: Mapped[bool] = mapped_column(server_default="false")
    expires_at: Mapped[datetime | None] = mapped_column()


_NOT_EVERYWHERE = frozenset({"Factory", "localtime", "posix", "posixrules", "right"})


def checked_zone(name: str) -> str:
    """The name of a time zone. Raises ValueError for one that this machine does not know, and for what every machine knows otherwise: its
    own local time, days with leap seconds.
    """
    refusal = ValueError(f"{name[:64]!r} is not a time zone (IANA name such as Europe/Vienna)")
    if name.partition("/")[0] in _NOT_EVERYWHERE:
        raise refusal
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise refusal from None
    return name
