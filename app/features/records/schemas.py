"""What records look like outside: strict on the way in, the same shape every time on the way out."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Annotated, Any, NamedTuple, Self
from uuid import UUID

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

MAX_PAYLOAD_BYTES = 16_384
MAX_PAYLOAD_DEPTH = 16
_LARGEST_INTEGER = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = struct.Struct(">q16s")


def _no_nul(text: str) -> str:
    """PostgreSQL cannot store U+0000; say so before it does."""
    if "\0" in text:
        raise ValueError("must not contain the NUL character")
    return text


def _unique(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _storable(payload: dict[str, Any]) -> dict[str, Any]:
    """Bound a JSON object in depth, numbers, text and size, in this order.

    The walk keeps a stack of its own, so depth cannot hurt it.
    """
    waiting: list[tuple[Any, int]] = [(payload, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_PAYLOAD_DEPTH:
            raise ValueError(f"must not be nested more than {MAX_PAYLOAD_DEPTH} levels deep")
        if isinstance(value, dict):
            waiting += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list):
            waiting += [(part, depth + 1) for part in value]
        else:
            _check_scalar(value)
    if len(orjson.dumps(payload)) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"must not be longer than {MAX_PAYLOAD_BYTES} bytes of JSON")
    return payload


def _check_scalar(value: object) -> None:
    if isinstance(value, str):
        _no_nul(value)
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("must not contain unpaired surrogates")
    elif isinstance(value, float):
        if not isfinite(value):
            raise ValueError("must not contain infinite numbers or NaN")
    elif isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        raise ValueError("must not contain integers of more than 64 bits")


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_no_nul),
    Field(description="Unique among the owner's records"),
]
Tag = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50), AfterValidator(_no_nul)
]
Tags = Annotated[list[Tag], Field(max_length=20, description="Words to find it by"), AfterValidator(_unique)]
Payload = Annotated[
    dict[str, Any],
    AfterValidator(_storable),
    Field(description=f"Any JSON object of at most {MAX_PAYLOAD_BYTES} bytes and {MAX_PAYLOAD_DEPTH} levels"),
]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class RecordCreate(_Input):
    """A new record."""

    name: Name
    tags: Tags = Field(default_factory=list)
    payload: Payload = Field(default_factory=dict)


class RecordUpdate(_Input):
    """Changes to a record.

    What is left out stays, null is refused because no field can be empty of a value.
    """

    name: Name = Field(default_factory=str)
    tags: Tags = Field(default_factory=list)
    payload: Payload = Field(default_factory=dict)

    def changes(self) -> dict[str, Any]:
        """Only what the caller sent."""
        return self.model_dump(exclude_unset=True)


class Position(NamedTuple):
    """Where a list goes on.

    After the record with these values. As text it is opaque to callers, and exact to the microsecond.
    """

    created_at: datetime
    id: UUID

    def encode(self) -> str:
        """32 characters that are safe in a URL."""
        microseconds = (self.created_at - _EPOCH) // timedelta(microseconds=1)
        return urlsafe_b64encode(_CURSOR.pack(microseconds, self.id.bytes)).decode()

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises ValueError for anything that ``encode`` did not write."""
        try:
            microseconds, identity = _CURSOR.unpack(urlsafe_b64decode(text))
            position = cls(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=identity))
        except (Base64Error, struct.error, OverflowError, ValueError):
            raise ValueError("is not a cursor of this list") from None
        if position.encode() != text:  # The decoder skips characters that are not base64.
            raise ValueError("is not a cursor of this list")
        return position


def _cursor(text: str) -> str:
    Position.decode(text)
    return text


class RecordQuery(BaseModel):
    """Which of the caller's records to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=100, description="Records on a page")
    cursor: Annotated[str, AfterValidator(_cursor)] | None = Field(
        default=None, description="`next_cursor` of the page before"
    )
    tag: Tag | None = Field(default=None, description="Only records that carry this tag")

    @property
    def after(self) -> Position | None:
        """The cursor's position."""
        return None if self.cursor is None else Position.decode(self.cursor)


class RecordOut(BaseModel):
    """A record as its owner sees it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    tags: list[str]
    payload: dict[str, Any]
    version: int = Field(description="Goes up with every change")
    created_at: datetime
    updated_at: datetime


class RecordPage(BaseModel):
    """A page of records, newest first."""

    items: list[RecordOut]
    next_cursor: str | None = Field(description="Ask for the next page with this; null on the last page")
