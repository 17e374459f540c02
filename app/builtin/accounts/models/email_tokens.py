"""Links that were sent by e-mail."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.builtin.accounts.models.users import MAX_EMAIL
from app.core.db import Base


class EmailToken(Base):
    """A token that was sent to ``email``: who has it reads mail there. Known by its SHA-256; the text is nowhere but in the mail.

    ``owner`` is the user's id as text, or the key of the address where there is no user yet. With the purpose it is the row's key, so that
    a newer token takes the place of the older one. A used one is deleted.
    """

    __tablename__ = "email_tokens"
    __table_args__ = (
        UniqueConstraint("hash"),
        CheckConstraint(
            "purpose IN ('reset_password', 'verify_email', 'change_email', 'register')",
            name="purpose_is_known",
        ),
        CheckConstraint("(purpose = 'register') = (user_id IS NULL)", name="only_who_registers_is_no_user"),
        CheckConstraint("octet_length(hash) = 32", name="hash_is_sha256"),
        Index("ix_email_tokens_user_id", "user_id"),
        Index("ix_email_tokens_expires_at", "expires_at"),
    )

    purpose: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    email: Mapped[str] = mapped_column(String(MAX_EMAIL))
    hash: Mapped[bytes] = mapped_column()
    created_at: Mapped[datetime] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column()
