"""Webhooks of the caller, and what was sent to them."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class WebhookCreate(BaseModel):
    """Where the caller wants to be told."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    url: str = Field(
        min_length=1,
        max_length=2048,
        description="https://host/path; no credentials, no fragment, no private address",
    )


class WebhookOut(BaseModel):
    """A webhook, without its secret."""

    id: UUID
    url: str
    is_active: bool
    disabled_reason: str | None = Field(description="Why it is not active")
    created_at: datetime
    failed_at: datetime | None = Field(
        description="When a message was given up, if none has arrived since; it is still tried with the next one"
    )
    failure: str | None = Field(description="How the last try at that message ended")
    old_secret_until: datetime | None = Field(
        description="Until when messages are signed with the secret before this one too"
    )


class WebhookCreated(WebhookOut):
    """A webhook with its secret, which is shown this once."""

    secret: str = Field(
        description="Signs the messages, by the Standard Webhooks specification; it cannot be had again"
    )


class WebhookList(BaseModel):
    """The caller's webhooks, newest first."""

    items: list[WebhookOut]


class AttemptOut(BaseModel):
    """One try. Neither a status nor an error: it is being made, or was broken off."""

    number: int
    started_at: datetime
    http_status: int | None
    error: str | None = Field(
        description="Why there is no status: timeout, no connection, connection broken, TLS failed, no valid answer, address refused"
    )
    duration_ms: int | None


class DeliveryOut(BaseModel):
    """One message. Its `id` is what `webhook-id` says."""

    id: UUID
    event: str = Field(description="job.succeeded, job.failed, job.cancelled, job.dead or ping")
    job_id: UUID | None = Field(description="Null for a ping")
    status: str = Field(description="pending, delivered or failed")
    attempts: int
    created_at: datetime
    finished_at: datetime | None
    log: list[AttemptOut] = Field(description="Every try, the first one first")


class DeliveryPage(BaseModel):
    """A page of messages, newest first."""

    items: list[DeliveryOut]
    next_cursor: UUID | None = Field(description="Ask for the next page with this; null on the last page")


class DeliveryQuery(BaseModel):
    """Which of a webhook's messages to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=100, description="Messages on a page")
    cursor: UUID | None = Field(default=None, description="`next_cursor` of the page before")
