"""Slow statements."""

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.core.monitor import MeasuredQuery, SlowStatement, StatementMark, StatementSort, StatementUse

Source = Literal["server", "service"]
Window = Literal["15m", "1h", "24h", "7d", "all"]
WINDOWS: dict[Window, timedelta | None] = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "all": None,
}
"""How long each is; ``all`` is whatever there is."""

Route = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class SlowQueriesQuery(BaseModel):
    """Which statements to list."""

    model_config = ConfigDict(extra="forbid")

    source: Source | None = Field(
        default=None,
        description="Whose numbers; none: the server's where it counts, and this process's own beside them",
    )
    sort: StatementSort = Field(
        default="total", description="Most of this first; `rows` and what follows only the server counts"
    )
    window: Window = Field(
        default="24h",
        description="Of the stored history; `all`: since the server's counters were reset, and for one statement all of the history",
    )
    min_calls: int = Field(default=0, ge=0, le=10**15, description="Only what ran so often")
    min_mean_ms: float = Field(default=0.0, ge=0, le=10**9, description="Only what takes so long on average")
    route: Route | None = Field(
        default=None, description="Only what this route template is known to send, as `/records/{record_id}`"
    )
    limit: int = Field(default=50, ge=1, le=100, description="Statements in the answer")

    def wants(self, use: StatementUse) -> bool:
        """Whether it ran often and long enough."""
        return use.calls >= self.min_calls and use.mean_ms >= self.min_mean_ms


class UseOut(BaseModel):
    """What executions cost together. Times in milliseconds."""

    calls: int
    total_ms: float = Field(description="Planning and running")
    mean_ms: float
    max_ms: float = Field(description="The longest that is known")
    stddev_ms: float
    plan_ms: float = Field(description="0 unless the server has track_planning on")
    io_ms: float = Field(description="0 unless the server has track_io_timing on")
    rows: int
    hit_blocks: int
    read_blocks: int
    dirtied_blocks: int
    temp_blocks: int
    wal_bytes: int
    hit_percent: float | None
    blocks_per_row: float | None

    @classmethod
    def of(cls, use: StatementUse) -> Self:
        """Times rounded to microseconds."""
        return cls(
            calls=use.calls,
            total_ms=use.total_us / 1000,
            mean_ms=round(use.mean_ms, 3),
            max_ms=use.max_us / 1000,
            stddev_ms=round(use.stddev_ms, 3),
            plan_ms=use.plan_us / 1000,
            io_ms=use.io_us / 1000,
            rows=use.rows,
            hit_blocks=use.hit_blocks,
            read_blocks=use.read_blocks,
            dirtied_blocks=use.dirtied_blocks,
            temp_blocks=use.temp_blocks,
            wal_bytes=use.wal_bytes,
            hit_percent=None if use.hit_percent is None else round(use.hit_percent, 1),
            blocks_per_row=None if use.blocks_per_row is None else round(use.blocks_per_row, 1),
        )


class SlowStatementOut(UseOut):
    """A statement as the server counts it. ``statement`` holds no values."""

    queryid: str = Field(description="A number of 64 bits, as text: JavaScript would round it")
    statement: str
    share_percent: float = Field(description="Of the time that all statements took")
    routes: list[str] = Field(description="Route templates that are known to send it")
    policies: list[str]
    marks: list[StatementMark] = Field(description="What is the matter with it")

    @classmethod
    def of_statement(cls, it: SlowStatement) -> Self:
        """From the service's."""
        return cls(
            **UseOut.of(it.use).model_dump(),
            queryid=str(it.queryid),
            statement=it.text,
            share_percent=round(it.share_percent, 2),
            routes=list(it.routes),
            policies=list(it.policies),
            marks=list(it.marks),
        )


class MeasuredQueryOut(BaseModel):
    """A statement as this process measured it since it started, with the way to the server and back; milliseconds."""

    statement: str
    calls: int
    total_ms: float
    mean_ms: float
    max_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    routes: dict[str, int] = Field(description="How often each route sent it")

    @classmethod
    def of(cls, it: MeasuredQuery) -> Self:
        """From the tracker's."""
        return cls(
            statement=it.statement,
            calls=it.query_count,
            total_ms=it.total_duration_ms,
            mean_ms=it.avg_duration_ms,
            max_ms=it.max_duration_ms,
            p50_ms=it.p50_ms,
            p95_ms=it.p95_ms,
            p99_ms=it.p99_ms,
            routes=dict(it.routes),
        )


class CountedOut(BaseModel):
    """How well the server's numbers count."""

    since: datetime | None
    until: datetime
    is_complete: bool = Field(
        description="False: the server threw entries away, or somebody reset its counters"
    )
    covered_percent: float = Field(description="How much of the window was sampled")
    hidden: int = Field(description="Entries of other roles, which the monitor may not see")
    total: UseOut = Field(description="All statements together, also those that are not listed")


class SlowQueriesOut(BaseModel):
    """Statements by what they cost; ``source`` and ``window`` are those that were answered."""

    source: Source
    window: Window
    counted: CountedOut | None = Field(description="Of the server's numbers; null where it does not count")
    statements: list[SlowStatementOut] = Field(description="As the server counts them")
    measured: list[MeasuredQueryOut] = Field(description="As this process measured them since it started")
    findings: list[FindingOut]
    notes: list[str] = Field(description="What to know before believing it")


class StatementQuery(BaseModel):
    """Over which time."""

    model_config = ConfigDict(extra="forbid")

    window: Window = Field(default="24h", description="`all`: all of the history")


class StatementPointOut(BaseModel):
    """One step of time."""

    at: datetime = Field(description="When the step began")
    calls: int
    mean_ms: float
    max_ms: float
    total_ms: float
    share_percent: float = Field(description="Of the time that all statements took in this step")


class StatementSeriesOut(BaseModel):
    """At most 300 steps; those in which nothing was sampled are absent."""

    step_s: int
    points: list[StatementPointOut]


class StatementOut(SlowStatementOut):
    """One statement with its history."""

    window: Window
    counted: CountedOut
    first_seen: datetime | None = Field(
        description="By the history; null if it never was among the first of an interval"
    )
    last_seen: datetime | None
    tables: list[str] = Field(description="That its text names")
    series: StatementSeriesOut
    measured: MeasuredQueryOut | None = Field(description="What this process measured of it")
    findings: list[FindingOut]
    notes: list[str]
