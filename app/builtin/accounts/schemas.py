"""What accounts take and answer."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr

MAX_PASSWORD = 128
_NO_CONTROL_CHARACTERS = r"^[^\x00-\x1f\x7f]+$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class PasswordGrant(_Strict):
    """The form of RFC 6749 section 4.3.2.

    The two client fields are taken because OAuth tools send them, and not used: this service knows people,
    not clients.
    """

    grant_type: Annotated[Literal["password"], Field(description="Only `password`")] = "password"
    username: Annotated[
        str,
        Field(min_length=1, max_length=254, pattern=_NO_CONTROL_CHARACTERS, description="The e-mail address"),
    ]
    password: Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSWORD)]
    scope: Annotated[
        str, Field(max_length=2048, description="Space-separated; all scopes of the user when empty")
    ] = ""
    client_id: Annotated[str | None, Field(max_length=255)] = None
    client_secret: Annotated[SecretStr | None, Field(max_length=255)] = None


class RefreshGrant(_Strict):
    """The form of RFC 6749 section 6; the client fields as in ``PasswordGrant``."""

    grant_type: Annotated[Literal["refresh_token"], Field(description="Only `refresh_token`")] = (
        "refresh_token"
    )
    refresh_token: Annotated[SecretStr, Field(min_length=1, max_length=8192)]
    scope: Annotated[
        str, Field(max_length=2048, description="Space-separated; narrows the access token when not empty")
    ] = ""
    client_id: Annotated[str | None, Field(max_length=255)] = None
    client_secret: Annotated[SecretStr | None, Field(max_length=255)] = None


class TokenAnswer(BaseModel):
    """The answer of RFC 6749 section 5.1. ``expires_in`` is in seconds, ``scope`` what was granted."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the kind of token
    expires_in: int
    refresh_token: str = Field(description="Good once, at /auth/refresh")
    refresh_expires_in: int = Field(
        description="Seconds; each refresh begins them anew, up to the session's end"
    )
    scope: str


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


class Me(BaseModel):
    """The caller: who he is, and what the presented token lets him do."""

    id: UUID
    email: str
    roles: list[str]
    scopes: list[str]
