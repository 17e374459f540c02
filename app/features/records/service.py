"""What can be done with records."""

from uuid import UUID

from app.core.db import ConstraintViolated
from app.core.errors import Conflict, EntityNotFoundError, NotAuthenticated
from app.features.records.models import NAME_IS_UNIQUE, OWNER_EXISTS, Record
from app.features.records.repository import RecordRepository
from app.features.records.schemas import (
    Position,
    RecordCreate,
    RecordOut,
    RecordPage,
    RecordQuery,
    RecordUpdate,
)


class RecordNotFound(EntityNotFoundError):
    """The caller has no such record; somebody else's is none of his business."""

    def __init__(self) -> None:
        super().__init__("Record not found")


class RecordNameTaken(Conflict):
    """The caller already has a record of this name."""

    def __init__(self) -> None:
        super().__init__("A record of this name already exists")


class RecordService:
    """One user's records, with the rules. Changes are kept when the request's transaction is."""

    def __init__(self, records: RecordRepository) -> None:
        self._records = records

    async def create(self, new: RecordCreate) -> RecordOut:
        """Raises RecordNameTaken."""
        try:
            record = await self._records.create(new.model_dump())
        except ConstraintViolated as refusal:
            raise _meaning(refusal) from refusal
        return RecordOut.model_validate(record)

    async def get(self, record_id: UUID) -> RecordOut:
        """Raises RecordNotFound."""
        return RecordOut.model_validate(await self._existing(record_id))

    async def list_page(self, query: RecordQuery) -> RecordPage:
        """A page, and where the next one starts if there is one."""
        found = await self._records.list_page(limit=query.limit + 1, after=query.after, tag=query.tag)
        items = [RecordOut.model_validate(record) for record in found[: query.limit]]
        more = len(found) > query.limit
        return RecordPage(
            items=items,
            next_cursor=Position(items[-1].created_at, items[-1].id).encode() if more else None,
        )

    async def update(self, record_id: UUID, changes: RecordUpdate) -> RecordOut:
        """Raises RecordNotFound, RecordNameTaken, or SerializationFailure when another change came first."""
        record = await self._existing(record_id)
        try:
            record = await self._records.update(record, changes.changes())
        except ConstraintViolated as refusal:
            raise _meaning(refusal) from refusal
        return RecordOut.model_validate(record)

    async def delete(self, record_id: UUID) -> None:
        """Raises RecordNotFound."""
        if not await self._records.delete(record_id):
            raise RecordNotFound

    async def _existing(self, record_id: UUID) -> Record:
        record = await self._records.get_by_id(record_id)
        if record is None:
            raise RecordNotFound
        return record


def _meaning(refusal: ConstraintViolated) -> Exception:
    """What a violated constraint means to the caller."""
    if refusal.constraint == NAME_IS_UNIQUE:
        return RecordNameTaken()
    if refusal.constraint == OWNER_EXISTS:
        return NotAuthenticated("This account no longer exists")
    return refusal
