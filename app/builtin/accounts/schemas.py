"""What accounts take and answer."""

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


class TokenAnswer(BaseModel):
    """The answer of RFC 6749 section 5.1. ``expires_in`` is in seconds, ``scope`` what was granted."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the kind of token
    expires_in: int
    scope: str


class Me(BaseModel):
    """The caller: who he is, and what the presented token lets him do."""

    id: UUID
    email: str
    roles: list[str]
    scopes: list[str]
