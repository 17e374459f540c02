"""API keys, and the secrets that prove them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, UUIDPrimaryKey


class ApiKey(UUIDPrimaryKey, Base):
    """What a user lets a program of his do in his name. ``id`` stays when its secret is changed.

    ``scopes`` and ``roles`` are the most it may have; what its owner has lost meanwhile, it has lost too. ``networks``: CIDR blocks that it
    may be used from; empty: from anywhere. ``last_used_at`` is at most some minutes old.
    """

    __tablename__ = "api_keys"
    __table_args__ = (Index("ix_api_keys_user_id_id", "user_id", "id"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column()
    scopes: Mapped[list[str]] = mapped_column()
    roles: Mapped[list[str]] = mapped_column()
    networks: Mapped[list[str]] = mapped_column()
    created_at: Mapped[datetime] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column()
    revoked_at: Mapped[datetime | None] = mapped_column()
    last_used_at: Mapped[datetime | None] = mapped_column()


class ApiKeySecret(UUIDPrimaryKey, Base):
    """One of a key's secrets, known by the SHA-256 of the key's text; the text is nowhere but with its owner.

    ``id`` stands in the text. ``expires_at``: it was replaced, and is good until then; ``ended_at``: it was ended before its time.
    """

    __tablename__ = "api_key_secrets"
    __table_args__ = (
        CheckConstraint("octet_length(hash) = 32", name="hash_is_sha256"),
        Index("ix_api_key_secrets_key_id", "key_id"),
    )

    key_id: Mapped[UUID] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"))
    hash: Mapped[bytes] = mapped_column()
    last_four: Mapped[str] = mapped_column()
    created_at: Mapped[datetime] = mapped_column()
    expires_at: Mapped[datetime | None] = mapped_column()
    ended_at: Mapped[datetime | None] = mapped_column()
