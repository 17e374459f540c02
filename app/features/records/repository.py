"""Records in the database. Every statement starts from one owner's records."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import translate_errors
from app.features.records.models import Record
from app.features.records.schemas import Position


class RecordRepository:
    """One user's records. Nothing here can see another user's."""

    def __init__(self, session: AsyncSession, owner_id: UUID) -> None:
        self._session = session
        self._owner_id = owner_id

    def _own(self) -> Select[Record]:
        return select(Record).where(Record.owner_id == self._owner_id)

    async def get(self, record_id: UUID) -> Record | None:
        """The record, or None when the owner has none of this id."""
        return await self._session.scalar(self._own().where(Record.id == record_id))

    async def list_page(self, *, limit: int, after: Position | None, tag: str | None) -> Sequence[Record]:
        """At most ``limit`` records, newest first, those after a position."""
        statement = self._own().order_by(Record.created_at.desc(), Record.id.desc()).limit(limit)
        if after is not None:
            statement = statement.where(tuple_(Record.created_at, Record.id) < tuple_(*after))
        if tag is not None:
            statement = statement.where(Record.tags.contains([tag]))
        return (await self._session.scalars(statement)).all()

    async def create(self, values: Mapping[str, Any]) -> Record:
        """Insert and return it with what the database filled in.

        Raises ConstraintViolated when the name is taken.
        """
        record = Record(owner_id=self._owner_id, **values)
        self._session.add(record)
        await self._flush()
        return record

    async def update(self, record: Record, values: Mapping[str, Any]) -> Record:
        """Change a record.

        Raises ConstraintViolated, or SerializationFailure when somebody changed it meanwhile.
        """
        for name, value in values.items():
            setattr(record, name, value)
        await self._flush()
        return record

    async def delete(self, record_id: UUID) -> bool:
        """Remove a record; False when the owner has none of this id."""
        statement = delete(Record).where(Record.owner_id == self._owner_id, Record.id == record_id)
        return await self._session.scalar(statement.returning(Record.id)) is not None

    async def _flush(self) -> None:
        # Now, not at the commit, so that the service learns here which constraint refused.
        with translate_errors():
            await self._session.flush()
