"""Tokens: what is exchanged for them, and the answer."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr

from app.builtin.accounts.schemas._strict import MAX_PASSWORD, NO_CONTROL_CHARACTERS, Strict


class PasswordGrant(Strict):
    """The form of RFC 6749 section 4.3.2.

    The two client fields are taken because OAuth tools send them, and not used: this service knows people,
    not clients.
    """

    grant_type: Annotated[Literal["password"], Field(description="Only `password`")] = "password"
    username: Annotated[
        str,
        Field(min_length=1, max_length=254, pattern=NO_CONTROL_CHARACTERS, description="The e-mail address"),
    ]
    password: Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSWORD)]
    scope: Annotated[
        str, Field(max_length=2048, description="Space-separated; all scopes of the user when empty")
    ] = ""
    client_id: Annotated[str | None, Field(max_length=255)] = None
    client_secret: Annotated[SecretStr | None, Field(max_length=255)] = None


class RefreshGrant(Strict):
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
