"""What endpoints repeat."""

from pydantic import BaseModel, Field

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.builtin.db_monitor.schemas.out import Out


class RepeatedReadOut(Out):
    """One statement that one endpoint repeats, in the last 50 of its requests that ran it; no values."""

    endpoint: str = Field(description="Method and route")
    policy: str | None
    statement: str = Field(description="The shape, without values")
    is_n_plus_one: bool = Field(description="The number of runs differs between requests")
    requests: int = Field(description="Requests that repeated it")
    times_min: int = Field(description="Runs in one request")
    times_median: float
    times_max: int
    median_ms: float = Field(description="Time of all runs of one request")
    lines: list[str] = Field(description="The code that ran it, innermost first")
    fix: str


class RepeatsOut(BaseModel):
    """Of the process that answered, since its start."""

    is_watched: bool = Field(description="False: MONITOR__TRACK_LATENCY is off, so nothing can be found")
    repeats: list[RepeatedReadOut]
    findings: list[FindingOut]
