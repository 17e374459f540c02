"""``/records``: the caller's own records."""

from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Response

from app.core import (
    APIRouter,
    CurrentPrincipal,
    JobConfig,
    RateLimit,
    Security,
    api_worker,
    enforce_all_policies,
)
from app.core.db import AsyncSession, get_db
from app.core.errors import PermissionDenied
from app.core.policies import Credits, Idempotency, ResponseCache
from app.features.records.repository import RecordRepository
from app.features.records.schemas import RecordCreate, RecordOut, RecordPage, RecordQuery, RecordUpdate
from app.features.records.service import RecordService

PER_NETWORK = RateLimit.fixed_window("ip", limit=600, window=60, scope="ip")
LIMITS = (RateLimit.token_bucket("user", max_tokens=60, refill_rate=10), PER_NETWORK)
READER = Security(scopes=("read:records",), roles=("db_reader",))
# One tag a user, not one a record: a tag lives for days, and one would be made for every id that somebody tries.
OWN = ("records:{user}",)

GET = JobConfig(
    security=READER,
    rate_limit=(RateLimit.token_bucket("user", max_tokens=5, refill_rate=1), PER_NETWORK),
    credits=Credits(cost=2),
    cache=ResponseCache(ttl=300, tags=OWN, query=()),
)
LIST = JobConfig(security=READER, rate_limit=LIMITS)
WRITE = JobConfig(
    security=Security(scopes=("write:records",)), rate_limit=LIMITS, max_body=65_536, invalidates=OWN
)
CREATE = replace(WRITE, idempotency=Idempotency(durability="db"))

NOT_FOUND: dict[int | str, Any] = {404: {"description": "The caller has no such record"}}
CONFLICT: dict[int | str, Any] = {
    409: {"description": "The name is taken, or somebody else changed the record"}
}

router = APIRouter(prefix="/records", tags=["records"])


async def _service(db: Annotated[AsyncSession, Depends(get_db)], caller: CurrentPrincipal) -> RecordService:
    try:
        owner_id = UUID(caller.id)
    except ValueError:
        raise PermissionDenied("Only users of this service have records") from None
    return RecordService(RecordRepository(db, owner_id))


Records = Annotated[RecordService, Depends(_service)]


@router.post(
    "", status_code=201, responses=CONFLICT, dependencies=[enforce_all_policies("records_create", CREATE)]
)
@api_worker(CREATE)
async def create_record(new: RecordCreate, records: Records, response: Response) -> RecordOut:
    """Store a record under a name that the caller does not use yet."""
    record = await records.create(new)
    response.headers["Location"] = f"/records/{record.id}"
    return record


@router.get("", dependencies=[enforce_all_policies("records_list", LIST)])
@api_worker(LIST)
async def list_records(query: Annotated[RecordQuery, Query()], records: Records) -> RecordPage:
    """The caller's records, newest first."""
    return await records.list_page(query)


@router.get("/{record_id}", responses=NOT_FOUND, dependencies=[enforce_all_policies("records_get", GET)])
@api_worker(GET)
async def get_record(record_id: UUID, records: Records) -> RecordOut:
    """One record."""
    return await records.get(record_id)


@router.patch(
    "/{record_id}",
    responses=NOT_FOUND | CONFLICT,
    dependencies=[enforce_all_policies("records_update", WRITE)],
)
@api_worker(WRITE)
async def update_record(record_id: UUID, changes: RecordUpdate, records: Records) -> RecordOut:
    """Change some fields of a record; what is left out stays."""
    return await records.update(record_id, changes)


@router.delete(
    "/{record_id}",
    status_code=204,
    responses=NOT_FOUND,
    dependencies=[enforce_all_policies("records_delete", WRITE)],
)
@api_worker(WRITE)
async def delete_record(record_id: UUID, records: Records) -> None:
    """Remove a record for good."""
    await records.delete(record_id)
