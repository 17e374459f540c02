"""Users in the hands of an administrator."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app.builtin.accounts.schemas._strict import MAX_PASSWORD, NO_CONTROL_CHARACTERS, Strict

_NAME = r"^[a-z][a-z0-9_.:-]{0,63}$"
Name = Annotated[str, Field(max_length=64, pattern=_NAME)]
Email = Annotated[str, Field(min_length=1, max_length=254, pattern=NO_CONTROL_CHARACTERS)]


class UserCreate(Strict):
    """A new user. His password is told to him on another way."""

    email: Annotated[Email, Field(description="Unique, in whatever spelling")]
    password: Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSWORD)]
    roles: list[Name] = Field(
        default_factory=list, max_length=64, description="Roles that the caller has, too"
    )
    scopes: list[Name] = Field(
        default_factory=list, max_length=64, description="Scopes that the caller has, too"
    )


class UserChange(Strict):
    """What an administrator changes of an account."""

    is_active: Annotated[bool, Field(description="Whether the user can sign in; false ends all his sessions")]


class UserOut(BaseModel):
    """A user, as administrators see him."""

    id: UUID
    email: str
    is_active: bool
    roles: list[str]
    scopes: list[str] = Field(description="Those that he was given himself")
    all_scopes: list[str] = Field(description="These, and those that his roles carry")
    created_at: datetime
    updated_at: datetime


class UserPage(BaseModel):
    """A page of users, newest first."""

    items: list[UserOut]
    next_cursor: UUID | None = Field(description="Ask for the next page with this; null on the last page")


class UserQuery(BaseModel):
    """Which users to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=100, description="Users on a page")
    cursor: UUID | None = Field(default=None, description="`next_cursor` of the page before")
    email: Email | None = Field(default=None, description="Only the user with this address, in any spelling")
    role: Name | None = Field(default=None, description="Only those who have this role")
    is_active: bool | None = Field(
        default=None, description="Only those who can sign in, or only those who cannot"
    )
