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


Alert = Literal["pool", "latency"]


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


class StatementLatency(BaseModel):
    """How long statements of the process that answered took in the last minutes, as the service saw it."""

    window_s: float
    statements: int
    avg_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    slow_since_start: int = Field(description="Statements of 100 ms or more since the start")


class DatabaseHealth(BaseModel):
    """The database's state; the rest only for callers with the scope read:monitor."""

    status: str = "ok"
    latency_ms: float | None = None
    server_version: str | None = None
    pool: Pool | None = None
    statements: StatementLatency | None = None
    alerts: list[Alert] | None = Field(
        default=None, description="pool: 80 % of it or more are in use; latency: a mean above 200 ms"
    )
    replica: ReplicaState | None = None
