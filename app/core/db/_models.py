"""What every table shares.

Relationships are written ``relationship(..., lazy="raise")``: a forgotten load fails in the test that needs
it instead of being two hundred queries in production. A test holds every mapped relationship to it.
"""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import DateTime, MetaData, Text, Uuid, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from uuid_utils.compat import uuid7


class Base(DeclarativeBase):
    """Base of all models.

    Names constraints, so that migrations can drop them and services can recognise them.
    """

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        datetime: DateTime(timezone=True),
        UUID: Uuid(),
        dict[str, Any]: JSONB(),
        list[str]: ARRAY(Text()),
    }


class UUIDPrimaryKey:
    """``id``: a version 7 UUID, so that new rows land at the end of the index.

    Made in Python: PostgreSQL has ``uuidv7()`` only from 18 on, and the service may want the id before the
    INSERT.
    """

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7, sort_order=-100)


class Timestamps:
    """``created_at`` and ``updated_at``.

    The start of the transaction that wrote the row, by the server's clock.
    """

    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=100)
    updated_at: Mapped[datetime] = mapped_column(
        server_default=func.now(), onupdate=func.now(), sort_order=101
    )
