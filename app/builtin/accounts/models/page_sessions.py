"""Sessions that a browser holds by a cookie."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base


class PageSession(Base):
    """The cookie of a session, known by the SHA-256 of its token; the text is nowhere but in the browser. A session has one at most, and
    it ends with the session.
    """

    __tablename__ = "page_sessions"
    __table_args__ = (CheckConstraint("octet_length(hash) = 32", name="hash_is_sha256"),)

    hash: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("auth_sessions.id", ondelete="CASCADE"), unique=True)
    created_at: Mapped[datetime] = mapped_column()
