"""What jobs look like to those who submitted them, and to operators."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.core.jobs import Status

_NAME = r"^[a-z][a-z0-9_]*$"
# Earlier there were no jobs; later times break arithmetic with time zones further down.
Moment = Annotated[
    AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC))
]
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=_NAME)]


class JobLine(BaseModel):
    """A job as a list shows it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    queue: str
    priority: str
    owner: str | None = Field(description="Who submitted it; null: the service itself")
    status: Status = Field(
        description="`queued` and `running` are open; `failed`: it said that it cannot succeed; `dead`: tried as often as it may be"
    )
    attempts: int = Field(description="How often it was begun")
    max_attempts: int
    progress: float | None = Field(description="How far it is, 0 to 1; null when it has not said")
    note: str | None = Field(description="What it says about that")
    error: str | None = Field(description="Why the last attempt failed")
    created_at: datetime
    run_at: datetime = Field(
        description="Not before that; of one that waits for its next attempt, when that is"
    )
    started_at: datetime | None = Field(description="Of the last attempt")
    finished_at: datetime | None
    cancel_requested_at: datetime | None = Field(
        description="Somebody wants it ended; its worker has not yet, if it is still open"
    )


class JobOut(JobLine):
    """One job."""

    result: Any | None = Field(description="What it returned, if it succeeded")
    cost_micro: int | None = Field(
        description="What it cost in the end, in millionths of a credit, if it said"
    )


class JobChange(BaseModel):
    """How an open job stands."""

    id: UUID
    status: Status
    attempts: int
    progress: float | None
    note: str | None


class JobPage(BaseModel):
    """A page of jobs, the newest first."""

    items: list[JobLine]
    next_cursor: UUID | None = Field(description="Ask for the next page with this; null on the last page")


class JobQuery(BaseModel):
    """Which jobs to list. Several conditions must all hold."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=100, description="Jobs on a page")
    cursor: UUID | None = Field(default=None, description="`next_cursor` of the page before")
    status: Status | None = Field(default=None, description="Only of this status")
    name: Name | None = Field(default=None, description="Only jobs of this name")
    queue: Name | None = Field(default=None, description="Only of this queue")
    since: Moment | None = Field(
        default=None, description="Not submitted before this time, which names its zone"
    )
    until: Moment | None = Field(default=None, description="Submitted before this time")


class JobListQuery(JobQuery):
    """The same, of one's own jobs or of everybody's."""

    all: bool = Field(default=False, description="Everybody's jobs; needs the scope `read:jobs`")
