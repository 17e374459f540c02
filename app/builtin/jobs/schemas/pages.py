"""What pages of jobs are asked for."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.builtin.jobs.schemas.jobs import JobQuery, Name
from app.core.jobs import Status

Span = Literal["15min", "1h", "24h", "7d"]
SPANS: Final[dict[Span, timedelta]] = {
    "15min": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
}
"""How far back a list goes."""

Owner = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class WhichJobs(BaseModel):
    """Which jobs, whatever their status. A field of a form that was left empty is not asked for."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    queue: Name | None = None
    owner: Owner | None = None
    since: Span | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value != ""}

    def link(self, **changes: object) -> str:
        """The list with other values; None takes one away."""
        values = {**self.model_dump(exclude_defaults=True), **changes}
        return "/ui/jobs?" + urlencode({name: value for name, value in values.items() if value is not None})

    def query(self, now: datetime, **more: Any) -> JobQuery:
        """As the desk is asked; ``owner`` goes beside it."""
        since = now - SPANS[self.since] if self.since is not None else None
        return JobQuery(name=self.name, queue=self.queue, since=since, **more)


class JobsPageQuery(WhichJobs):
    """A page of the list."""

    status: Status | None = None
    cursor: UUID | None = None


class RetryForm(WhichJobs):
    """The dead jobs of a list. ``csrf_token`` has been compared before anything else was read."""

    csrf_token: Annotated[str, Field(max_length=100)] = ""
