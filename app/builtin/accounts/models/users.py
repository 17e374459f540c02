"""Who can sign in."""

from collections.abc import Iterable
from datetime import datetime
from unicodedata import normalize

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, validates

from app.core.db import Base, Timestamps, UUIDPrimaryKey
from app.core.security import scopes_of

MAX_EMAIL = 254


def email_key(email: str) -> str:
    """The form under which an e-mail address is looked up, limited and unique: spellings of one address share it.

    Folded here and not by the server, whose folding depends on the locale the database was made with.
    """
    return normalize("NFKC", normalize("NFKC", email.strip()).casefold())


class User(UUIDPrimaryKey, Timestamps, Base):
    """Somebody who can sign in. ``email`` stands as it was given; ``email_key`` follows from it whenever it is set.

    ``tokens_since``: access tokens that were issued before it are over; it only moves forward. ``email_verified_at``: when he showed that
    he reads mail at his address; None: nobody did, as with users whom an operator made.
    ``scopes`` are those that he was given himself; what he may do is ``all_scopes``, with those that his roles carry.
    """

    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("email_key"),
        Index("ix_users_roles", "roles", postgresql_using="gin"),
    )

    email: Mapped[str] = mapped_column(String(MAX_EMAIL))
    email_key: Mapped[str] = mapped_column()
    password_hash: Mapped[str] = mapped_column()
    roles: Mapped[list[str]] = mapped_column(default=list, server_default="{}")
    scopes: Mapped[list[str]] = mapped_column(default=list, server_default="{}")
    is_active: Mapped[bool] = mapped_column(default=True, server_default="true")
    tokens_since: Mapped[datetime | None] = mapped_column()
    email_verified_at: Mapped[datetime | None] = mapped_column()

    @property
    def all_scopes(self) -> frozenset[str]:
        """What he may do: his own scopes and those of his roles."""
        return self.scopes_with(self.roles)

    def scopes_with(self, roles: Iterable[str]) -> frozenset[str]:
        """His own scopes, and those that these roles carry."""
        return frozenset(self.scopes) | scopes_of(roles)

    @validates("email")
    def _set_key(self, _: str, email: str) -> str:
        self.email_key = email_key(email)
        return email
