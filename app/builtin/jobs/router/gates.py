"""The policies of the paths of jobs, and what their handlers ask for."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from app.builtin.jobs.schemas import JobOut
from app.builtin.jobs.service import LOOK, JobDesk, JobWaits, reach_of
from app.core import CurrentPrincipal, JobConfig, provided
from app.core.db import AsyncSession, get_db

MOST_WAIT_S = 30

LIST = JobConfig()
READ = JobConfig(timeout=MOST_WAIT_S + 15)
CHANGE = JobConfig(max_body=65_536)

NOT_FOUND: dict[int | str, Any] = {404: {"description": "The caller has no such job"}}
BUSY: dict[int | str, Any] = {
    429: {"description": "A limit, or the caller waits for as many jobs as one may"},
    503: {"description": "The database does not answer, or the process holds as many waits as it may"},
}
UNPAID: dict[int | str, Any] = {
    402: {"description": "The price was given back, and there are not enough credits for it"}
}
ENDED: dict[int | str, Any] = {409: {"description": "The job is not in a status from which that can be done"}}

Session = Annotated[AsyncSession, Depends(get_db)]
Desk = Annotated[JobDesk, Depends(provided(JobDesk))]
Waits = Annotated[JobWaits, Depends(provided(JobWaits))]


async def _followed(job_id: UUID, caller: CurrentPrincipal, waits: Waits) -> AsyncIterator[JobOut]:
    # Held until the last byte is out; what is refused here is refused before the first.
    with waits.seat(caller.id):
        yield await waits.look(reach_of(caller, LOOK), job_id)


Followed = Annotated[JobOut, Depends(_followed)]
"""A job that the caller follows to its end: he has a seat for as long as that takes."""
