"""The tables of users, their sessions, and the tokens that keep a session going."""

from datetime import datetime
from unicodedata import normalize
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, validates

from app.core.db import Base, EncryptedText, Timestamps, UUIDPrimaryKey

MAX_EMAIL = 254


def email_key(email: str) -> str:
    """The form under which an e-mail address is looked up, limited and unique: spellings of one address share it.

    Folded here and not by the server, whose folding depends on the locale the database was made with.
    """
    return normalize("NFKC", normalize("NFKC", email.strip()).casefold())


class User(UUIDPrimaryKey, Timestamps, Base):
    """Somebody who can sign in. ``email`` stands as it was given; ``email_key`` follows from it whenever it is set.

    ``tokens_since``: access tokens that were issued before it are over; it only moves forward.
    """

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("email_key"),)

    email: Mapped[str] = mapped_column(String(MAX_EMAIL))
    email_key: Mapped[str] = mapped_column()
    password_hash: Mapped[str] = mapped_column()
    roles: Mapped[list[str]] = mapped_column(default=list, server_default="{}")
    scopes: Mapped[list[str]] = mapped_column(default=list, server_default="{}")
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true")
    tokens_since: Mapped[datetime | None] = mapped_column()

    @validates("email")
    def _set_key(self, _: str, email: str) -> str:
        self.email_key = email_key(email)
        return email


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
