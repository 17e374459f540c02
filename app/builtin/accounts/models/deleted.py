"""Who was deleted, for as long as tokens of his may be out."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, UUIDPrimaryKey


class DeletedUser(UUIDPrimaryKey, Base):
    """What is left of a user whose row was deleted: his ``id``, under which no token counts any more.

    A trigger of ``users`` writes it, whoever deletes and however. Nothing else is kept of him. Ids are never given again.
    """

    __tablename__ = "deleted_users"
    __table_args__ = (Index("ix_deleted_users_deleted_at", "deleted_at"),)

    deleted_at: Mapped[datetime] = mapped_column()
