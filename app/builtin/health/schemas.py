"""What the probes answer. Names and states, never reasons: anybody may ask."""

from typing import Literal

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


class ReplicaState(BaseModel):
    """The replica that reads may go to, as this process saw it last; it does not matter for being ready."""

    state: Literal["unknown", "close", "behind", "down", "no_standby"] = Field(
        description="close: it gets the reads; otherwise the primary does"
    )
    lag_s: float | None = Field(default=None, description="Seconds behind the primary, at most")


class DatabaseHealth(BaseModel):
    """The database's state; the rest only for callers with the scope read:monitor."""

    status: str = "ok"
    latency_ms: float | None = None
    server_version: str | None = None
    pool: Pool | None = None
    replica: ReplicaState | None = None
