"""Sessions, and the tokens that keep them going."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, EncryptedText, UUIDPrimaryKey


class AuthSession(UUIDPrimaryKey, Base):
    """What one sign-in began; ``id`` is the ``sid`` of its access tokens.

    ``scopes`` are those granted at the sign-in: a refresh never gives more. ``used_at`` is when tokens of it were last issued, so that they
    are over one token's life after it. ``ended_at``: somebody ended it, and ``end_reason`` says why; a session whose time ran out has none.
    """

    __tablename__ = "auth_sessions"
    __table_args__ = (
        CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="an_end_has_a_reason"),
        Index("ix_auth_sessions_user_id", "user_id"),
        Index("ix_auth_sessions_used_at", "used_at"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column()
    authenticated_at: Mapped[datetime] = mapped_column()
    methods: Mapped[list[str]] = mapped_column()
    scopes: Mapped[list[str]] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column()
    used_at: Mapped[datetime] = mapped_column()
    ended_at: Mapped[datetime | None] = mapped_column()
    end_reason: Mapped[str | None] = mapped_column()


class RefreshToken(Base):
    """One of a session's refresh tokens, known by its SHA-256; the text is nowhere but with its owner.

    Without ``used_at`` it is the current one. ``successor`` is the next token, readable while a client whose answer was lost may ask once
    more, and NULL after that. Used tokens stay as long as their session: only so is it seen that a stolen one is tried. The session and
    the generation are unique together, so that no family can have two branches.
    """

    __tablename__ = "refresh_tokens"
    __table_args__ = (
        UniqueConstraint("session_id", "generation"),
        CheckConstraint("octet_length(hash) = 32", name="hash_is_sha256"),
        CheckConstraint("successor IS NULL OR used_at IS NOT NULL", name="a_successor_follows_a_use"),
        Index("ix_refresh_tokens_used_at", "used_at", postgresql_where=text("successor IS NOT NULL")),
    )

    hash: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("auth_sessions.id", ondelete="CASCADE"))
    generation: Mapped[int] = mapped_column()
    created_at: Mapped[datetime] = mapped_column()
    used_at: Mapped[datetime | None] = mapped_column()
    # Deferred: a key that was taken away must not make older rows unreadable.
    successor: Mapped[str | None] = mapped_column(EncryptedText("refresh_tokens.successor"), deferred=True)
