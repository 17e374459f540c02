"""What is to be calculated, and what came out."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

LARGEST_MATRIX = 2_000


class HeavyJobInput(BaseModel):
    """A calculation. The same one has the same result every time."""

    model_config = ConfigDict(extra="forbid")

    what: Literal["pi", "eigenvalue"] = Field(
        "pi",
        description="pi: estimated from random points; eigenvalue: the largest one of a random symmetric matrix",
    )
    size: Annotated[int, Field(strict=True, ge=100, le=1_000_000_000)] = Field(
        10_000_000, description="How many points, or rows of the matrix, of which there may be 2,000"
    )
    seed: Annotated[int, Field(strict=True, ge=0, le=2**53 - 1)] = Field(
        0, description="Where the random numbers begin"
    )

    @model_validator(mode="after")
    def _size_is_right(self) -> Self:
        if self.what == "eigenvalue" and self.size > LARGEST_MATRIX:
            raise ValueError(f"the size of a matrix may be {LARGEST_MATRIX:,} at most")
        return self


class HeavyJobResult(BaseModel):
    """``value`` lies between ``low`` and ``high``: with 95 % confidence for pi, certainly for an eigenvalue."""

    what: Literal["pi", "eigenvalue"]
    size: int
    seed: int
    value: float
    low: float
    high: float
    steps: int = Field(description="Batches of points, or products with the matrix")


class HeavyJobSubmitted(BaseModel):
    """It is under way: `GET /jobs/{job_id}` says how far."""

    job_id: UUID
    status: Literal["queued"] = "queued"
