"""The table of records."""

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, Timestamps, UUIDPrimaryKey

NAME_IS_UNIQUE = "uq_records_owner_id_name"
OWNER_EXISTS = "fk_records_owner_id_users"


class Record(UUIDPrimaryKey, Timestamps, Base):
    """A named record of one user. ``version`` counts its changes, and refuses the slower of two at once."""

    __tablename__ = "records"
    __table_args__ = (
        UniqueConstraint("owner_id", "name", name=NAME_IS_UNIQUE),
        CheckConstraint("btrim(name) <> ''", name="name_is_not_blank"),
        CheckConstraint("cardinality(tags) <= 20", name="tags_are_few"),
        # A list is one owner's, newest first, continued after (created_at, id): this index read backwards.
        Index("ix_records_owner_id_created_at_id", "owner_id", "created_at", "id"),
        Index("ix_records_owner_id_updated_at", "owner_id", "updated_at"),
        Index("ix_records_tags", "tags", postgresql_using="gin"),
    )

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", name=OWNER_EXISTS, ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(200))
    tags: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    payload: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    version: Mapped[int] = mapped_column()

    # eager_defaults: read the new updated_at in the UPDATE itself; a session of ours does not load it later.
    __mapper_args__ = {"version_id_col": version, "eager_defaults": True}  # noqa: RUF012 - SQLAlchemy declares it for instances
