"""What credits look like outside."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

MOST_GRANTED = 1_000_000_000
_CURSOR = struct.Struct(">q")
_NO_CONTROL_CHARACTERS = r"^[^\x00-\x1f\x7f]*$"


def _storable(text: str) -> str:
    """PostgreSQL takes no text that UTF-8 cannot express."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain unpaired surrogates")
    return text


Text = Annotated[str, AfterValidator(_storable)]


class GrantCreate(BaseModel):
    """Credits for somebody."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    account: Annotated[
        Text,
        StringConstraints(min_length=1, max_length=200, pattern=_NO_CONTROL_CHARACTERS),
        Field(description="The owner's user id"),
    ]
    amount: int = Field(ge=1, le=MOST_GRANTED, description="Whole credits")
    expires_at: AwareDatetime | None = Field(
        default=None, strict=False, description="When what is left of it is taken away; never without it"
    )
    priority: int = Field(default=0, ge=0, le=100, description="Lower is spent first")
    is_paid: bool = Field(default=False, description="Bought, not given: spent after what was given")
    note: Annotated[Text, StringConstraints(max_length=200, pattern=_NO_CONTROL_CHARACTERS)] = Field(
        default="", description="For the ledger; its owner sees it"
    )


class GrantOut(BaseModel):
    """A grant, and the balance after it."""

    id: UUID
    account: str
    amount_micro: int
    balance: int = Field(description="Whole credits, rounded down")
    balance_micro: int


class Usage(BaseModel):
    """Micro-credits charged, less what was given back, in the account's time zone."""

    today_micro: int
    month_micro: int


class CreditsOut(BaseModel):
    """An account as its owner sees it."""

    balance: int = Field(description="Whole credits, rounded down")
    balance_micro: int = Field(description="Millionths of a credit")
    held_micro: int | None = Field(description="Held by requests in flight; null when it cannot be told now")
    plan: str
    time_zone: str = Field(description="Where the account's days and months begin")
    usage: Usage


class EntryOut(BaseModel):
    """A line of the ledger."""

    id: UUID
    kind: str = Field(description="grant, debit, refund, expire or adjust")
    amount_micro: int = Field(description="Negative when it was taken")
    overage_micro: int = Field(description="Used, but not covered by the balance")
    policy: str | None = Field(description="What was charged for")
    note: str | None
    request_id: str | None
    at: datetime


class LedgerPage(BaseModel):
    """A page of the ledger, newest first."""

    items: list[EntryOut]
    next_cursor: str | None = Field(description="Ask for the next page with this; null on the last page")


def encode_cursor(version: int) -> str:
    """Where a list goes on, opaque to callers: 12 characters that are safe in a URL."""
    return urlsafe_b64encode(_CURSOR.pack(version)).decode()


def decode_cursor(text: str) -> int:
    """Raises ValueError for anything that ``encode_cursor`` did not write."""
    try:
        (version,) = _CURSOR.unpack(urlsafe_b64decode(text))
    except (Base64Error, struct.error, ValueError):
        raise ValueError("is not a cursor of this list") from None
    if encode_cursor(version) != text:  # The decoder skips characters that are not base64.
        raise ValueError("is not a cursor of this list")
    return int(version)


def _cursor(text: str) -> str:
    decode_cursor(text)
    return text


class LedgerQuery(BaseModel):
    """Which part of the caller's ledger to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=100, description="Entries on a page")
    cursor: Annotated[str, AfterValidator(_cursor)] | None = Field(
        default=None, description="`next_cursor` of the page before"
    )

    @property
    def before(self) -> int | None:
        """The cursor's position."""
        return None if self.cursor is None else decode_cursor(self.cursor)
