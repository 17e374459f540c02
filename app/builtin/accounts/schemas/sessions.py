"""Sessions of the caller."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class LogoutQuery(BaseModel):
    """What to sign out of."""

    model_config = ConfigDict(extra="forbid")

    everywhere: bool = Field(
        default=False, description="All sessions of the user and all tokens that are out, not this one only"
    )


class SessionOut(BaseModel):
    """A session of the caller."""

    id: UUID
    is_current: bool = Field(description="Whether the presented token is of this session")
    authenticated_at: datetime
    used_at: datetime = Field(description="When tokens of it were last issued")
    expires_at: datetime = Field(description="When it is over at the latest")
    methods: list[str] = Field(description="How its user proved who he is (RFC 8176)")
    scopes: list[str]


class SessionPage(BaseModel):
    """A page of sessions, newest first."""

    items: list[SessionOut]
    next_cursor: UUID | None = Field(description="Ask for the next page with this; null on the last page")


class SessionQuery(BaseModel):
    """Which of the caller's sessions to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=100, description="Sessions on a page")
    cursor: UUID | None = Field(default=None, description="`next_cursor` of the page before")
