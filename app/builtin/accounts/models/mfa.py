"""The second factor of users: its secret, the codes that stand in for it, and sign-ins that wait for it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, EncryptedText


class MfaFactor(Base):
    """What a user's authenticator app shares with us. Without ``confirmed_at`` he has not shown yet that it works, and nobody asks for it.

    ``last_step``: the time step of the newest code that was accepted; it only moves forward, so no code is good twice. ``failures`` are
    wrong codes since the last good one, the last of them at ``failed_at``.
    """

    __tablename__ = "mfa_factors"
    __table_args__ = (
        CheckConstraint("failures >= 0", name="failures_are_counted"),
        CheckConstraint("(failures = 0) = (failed_at IS NULL)", name="a_failure_has_a_time"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    # Deferred: whether there is a factor must be known also where its key is not.
    secret: Mapped[str] = mapped_column(EncryptedText("mfa_factors.secret"), deferred=True)
    begun_at: Mapped[datetime] = mapped_column()
    confirmed_at: Mapped[datetime | None] = mapped_column()
    last_step: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    failures: Mapped[int] = mapped_column(default=0, server_default="0")
    failed_at: Mapped[datetime | None] = mapped_column()


class RecoveryCode(Base):
    """One of a user's recovery codes, known by its SHA-256. With ``used_at`` it is no longer good."""

    __tablename__ = "mfa_recovery_codes"
    __table_args__ = (CheckConstraint("octet_length(hash) = 32", name="hash_is_sha256"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    hash: Mapped[bytes] = mapped_column(primary_key=True)
    used_at: Mapped[datetime | None] = mapped_column()


class MfaChallenge(Base):
    """A sign-in whose password was right, until the second factor is shown; its token is known by its SHA-256.

    ``tries`` counts what was presented for it. ``scopes`` are those that the sign-in grants. ``password_mark`` is the SHA-256 of the
    user's password hash of then: with another password the challenge is over.
    """

    __tablename__ = "mfa_challenges"
    __table_args__ = (
        CheckConstraint("octet_length(hash) = 32", name="hash_is_sha256"),
        Index("ix_mfa_challenges_user_id", "user_id"),
        Index("ix_mfa_challenges_expires_at", "expires_at"),
    )

    hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column()
    tries: Mapped[int] = mapped_column(default=0, server_default="0")
    scopes: Mapped[list[str]] = mapped_column()
    password_mark: Mapped[bytes] = mapped_column()
