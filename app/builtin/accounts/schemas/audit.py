"""The audit log."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.builtin.accounts.schemas._strict import NO_CONTROL_CHARACTERS

# Earlier nothing was recorded; later ones break arithmetic with time zones further down.
Moment = Annotated[
    AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC))
]


class AuditOut(BaseModel):
    """One change of an account."""

    id: UUID
    at: datetime
    event: str
    actor_kind: Literal["user", "operator", "anonymous"] = Field(
        description="`operator`: somebody at the command line; `anonymous`: nobody who was signed in"
    )
    actor_id: str | None = Field(description="Who did it, if that was a user")
    subject_id: UUID | None = Field(description="The user it was done to, also when he is deleted by now")
    request_id: str | None
    detail: dict[str, Any]


class AuditPage(BaseModel):
    """A page of the audit log, newest first."""

    items: list[AuditOut]
    next_cursor: UUID | None = Field(description="Ask for the next page with this; null on the last page")


class AuditQuery(BaseModel):
    """Which changes to list. Several conditions must all hold."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=100, description="Changes on a page")
    cursor: UUID | None = Field(default=None, description="`next_cursor` of the page before")
    event: Annotated[str, Field(min_length=1, max_length=64, pattern=NO_CONTROL_CHARACTERS)] | None = Field(
        default=None, description="Only of this kind, as `rights.granted`"
    )
    subject: UUID | None = Field(default=None, description="Only what was done to this user")
    actor: Annotated[str, Field(min_length=1, max_length=255, pattern=NO_CONTROL_CHARACTERS)] | None = Field(
        default=None, description="Only what this user did"
    )
    since: Moment | None = Field(default=None, description="Not earlier than this time, which names its zone")
    until: Moment | None = Field(default=None, description="Earlier than this time")
