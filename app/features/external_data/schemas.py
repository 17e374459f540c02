"""What is asked, what the other service must answer, and what we answer."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class ExternalQuery(BaseModel):
    """The query string of ``GET /external-data``."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] = Field(
        description="What to look for"
    )


class ExternalItem(BaseModel):
    """One thing that was found. What else the other service says of it is not passed on."""

    model_config = ConfigDict(extra="ignore", strict=True)

    id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    title: Annotated[str, StringConstraints(max_length=1000)]


class ExternalAnswer(BaseModel):
    """The other service's answer: ``{"items": [{"id": "...", "title": "..."}]}``."""

    model_config = ConfigDict(extra="ignore", strict=True)

    items: list[ExternalItem] = Field(max_length=1000)


class ExternalData(BaseModel):
    """What was found for a query."""

    query: str
    items: list[ExternalItem]
