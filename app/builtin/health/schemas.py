"""What the probes answer. Names and states, never reasons: anybody may ask."""

from pydantic import BaseModel, Field


class Alive(BaseModel):
    """The process runs its event loop."""

    status: str = "alive"


class Ready(BaseModel):
    """Everything that the service needs has answered."""

    status: str = "ready"
    checks: dict[str, str] = Field(description="Each check by name: ok or failed")


class Pool(BaseModel):
    """Connections of the process that answered."""

    size: int
    limit: int
    open: int
    checked_out: int
    overflow: int


class DatabaseHealth(BaseModel):
    """The database's state; the rest only for callers with the scope read:monitor."""

    status: str = "ok"
    latency_ms: float | None = None
    server_version: str | None = None
    pool: Pool | None = None
