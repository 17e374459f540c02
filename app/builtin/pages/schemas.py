"""The forms of signing in and out."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app.builtin.accounts.models import MAX_EMAIL
from app.builtin.accounts.schemas import MAX_PASSWORD

_MAX_NEXT = 4096


class _Form(BaseModel):
    """``csrf_token`` has been compared before anything else was read."""

    model_config = ConfigDict(extra="forbid")

    csrf_token: Annotated[str, Field(max_length=100)] = ""


class LoginForm(_Form):
    """The first step."""

    username: Annotated[str, Field(min_length=1, max_length=MAX_EMAIL, pattern=r"^[^\x00-\x1f\x7f]*$")]
    password: Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSWORD)]
    next: Annotated[str, Field(max_length=_MAX_NEXT)] = ""


class CodeForm(_Form):
    """The second step, for those who have one."""

    mfa_token: Annotated[SecretStr, Field(min_length=1, max_length=512)]
    code: Annotated[SecretStr, Field(min_length=1, max_length=128)]
    next: Annotated[str, Field(max_length=_MAX_NEXT)] = ""


class LogoutForm(_Form):
    """``everywhere``: all sessions of the user and all tokens that are out, not this session only."""

    everywhere: bool = False


class LoginQuery(BaseModel):
    """Where to go after signing in; ``again``: ask also somebody who is signed in. Other parameters mean nothing: links to here come from
    anywhere.
    """

    next: Annotated[str, Field(max_length=_MAX_NEXT)] = ""
    again: bool = False
