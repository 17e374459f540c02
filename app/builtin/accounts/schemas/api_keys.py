"""API keys of the caller."""

from datetime import datetime
from ipaddress import ip_network
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from app.builtin.accounts.schemas._strict import NO_CONTROL_CHARACTERS, Strict

MAX_OVERLAP_S = 604_800
MIN_OVERLAP_S = 30
"""Processes look a key up again within this time, so that all of them know when its old secret ends."""


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as exc:
        raise ValueError(
            "not a network as 192.0.2.0/24 or 2001:db8::/32, without bits behind the mask"
        ) from exc


def _overlap(seconds: int) -> int:
    if 0 < seconds < MIN_OVERLAP_S:
        raise ValueError(f"0, or {MIN_OVERLAP_S} and more")
    return seconds


_Name = Annotated[str, Field(min_length=1, max_length=100, pattern=NO_CONTROL_CHARACTERS)]
_Right = Annotated[str, Field(min_length=1, max_length=64)]
_Network = Annotated[str, Field(max_length=64), AfterValidator(_network)]


class ApiKeyRequest(Strict):
    """What a new key may do."""

    name: Annotated[_Name, Field(description="What it is for")]
    scopes: Annotated[
        list[_Right], Field(max_length=64, description="Of those of the presented token; `[]` for none")
    ]
    roles: Annotated[
        list[_Right],
        Field(max_length=64, description="Of those of the presented token; none unless they are named"),
    ] = Field(default_factory=list)
    expires_at: Annotated[
        AwareDatetime | None,
        Field(strict=False, description="When it ends; without it as late as the service allows"),
    ] = None
    allowed_networks: Annotated[
        list[_Network],
        Field(max_length=32, description="CIDR blocks from which it may be used; from anywhere when empty"),
    ] = Field(default_factory=list)


class ApiKeyRotation(Strict):
    """How a secret is changed."""

    overlap_s: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_OVERLAP_S,
            description="Seconds for which the old secret stays good: 0, or 30 to 604800",
        ),
        AfterValidator(_overlap),
    ] = 3600


class ApiKeyOut(BaseModel):
    """An API key, without its secret."""

    id: UUID
    name: str
    prefix: str = Field(description="How the key begins: everything before its secret")
    last_four: str = Field(description="How it ends")
    scopes: list[str]
    roles: list[str]
    allowed_networks: list[str]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = Field(description="To within some minutes")
    old_secret_until: datetime | None = Field(description="Until when the secret before this one is good too")


class ApiKeyCreated(ApiKeyOut):
    """A key with its secret, which is shown this once."""

    key: str = Field(
        description="To be sent as `Authorization: Bearer` or `X-API-Key`; it cannot be had again"
    )


class ApiKeyPage(BaseModel):
    """A page of keys, newest first."""

    items: list[ApiKeyOut]
    next_cursor: UUID | None = Field(description="Ask for the next page with this; null on the last page")


class ApiKeyQuery(BaseModel):
    """Which of the caller's keys to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=100, description="Keys on a page")
    cursor: UUID | None = Field(default=None, description="`next_cursor` of the page before")
