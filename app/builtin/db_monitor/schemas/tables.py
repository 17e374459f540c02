"""Tables by size, and one of them in full."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.builtin.db_monitor.schemas.out import InSchemaOut, Out


class GrowthOut(Out):
    """How fast a table grows, in bytes; less than nothing when it shrinks."""

    basis: Literal["measured", "estimate"] = Field(
        description="From stored samples, or from rows inserted and deleted while there are not two of them"
    )
    bytes_per_hour: float = Field(description="Over the last day of samples")
    bytes_per_day: float = Field(description="Over the last week of samples")
    points: int = Field(description="Samples in the last week")
    since: datetime
    until: datetime
    bytes_in_30_days: int | None = Field(description="With three samples over a day or more")
    note: str


class TableOut(InSchemaOut):
    """A table, or a partitioned one with all its partitions. Counters since statistics were last reset."""

    name: str
    kind: Literal["table", "partitioned", "materialized view"]
    partitions: int
    total_bytes: int
    heap_bytes: int
    toast_bytes: int
    index_bytes: int
    is_exact: bool = Field(
        description="False: the table is locked or has over 50 partitions, and sizes are those of the last VACUUM or ANALYZE"
    )
    estimated_rows: int | None = Field(description="The planner's number; null: never analysed")
    live_rows: int
    dead_rows: int
    dead_percent: float
    inserted: int
    updated: int
    hot_updated: int
    hot_percent: float | None = Field(description="Updates that changed no index")
    deleted: int
    changed_since_analyze: int
    seq_scans: int
    seq_rows_read: int
    index_scans: int
    index_scan_percent: float | None
    last_vacuum: datetime | None
    last_analyze: datetime | None
    growth: GrowthOut


class TablePage(Out):
    """A page of tables, largest first."""

    items: list[TableOut] = Field(validation_alias="tables")
    total: int = Field(description="Tables in all; partitions count with their parent")
    since: datetime = Field(description="From when on the counters count")
    findings: list[FindingOut]


class TableQuery(BaseModel):
    """Which tables to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=100, description="Tables on a page")
    page: int = Field(default=1, ge=1, le=10_000, description="The first page is 1")


class ColumnOut(Out):
    """A column as ANALYZE saw it, without any value of it; null where there are no statistics."""

    name: str
    type: str
    is_required: bool
    null_share: float | None = Field(description="0 to 1")
    n_distinct: float | None = Field(description="Different values; below 0 their share of the rows")
    width: int | None = Field(description="Mean bytes")
    correlation: float | None = Field(description="-1 to 1, with the order on disk")
    common_shares: list[float] = Field(description="Shares of rows that the ten commonest values have")


class BloatOut(Out):
    """An estimate of empty space, from statistics."""

    bytes: int
    percent: float


class TableIndexOut(Out):
    """An index of the table."""

    name: str
    method: str
    columns: list[str]
    included: list[str]
    definition: str | None = Field(description="Without literal values; null while the table is locked")
    constraint: str | None
    is_valid: bool
    is_unique: bool
    is_primary: bool
    is_partial: bool
    bytes: int
    is_exact: bool
    scans: int
    last_scan: datetime | None = Field(description="PostgreSQL 16 or newer")
    entries_read: int
    rows_fetched: int
    bloat: BloatOut | None


class VacuumOut(Out):
    """What waits for VACUUM and ANALYZE, and the table's own thresholds."""

    is_enabled: bool
    is_running: bool
    is_vacuum_due: bool
    is_analyze_due: bool
    dead_rows: int
    dead_threshold: int
    inserted_since_vacuum: int
    insert_threshold: int | None
    changed_since_analyze: int
    analyze_threshold: int
    transaction_age: int
    freeze_max_age: int
    last_vacuum: datetime | None
    last_autovacuum: datetime | None
    last_analyze: datetime | None
    last_autoanalyze: datetime | None
    vacuum_count: int
    autovacuum_count: int


class SizePointOut(Out):
    """How large the table was, and how many live rows it had."""

    at: datetime
    bytes: int
    rows: int | None


class TableDetailOut(Out):
    """One table."""

    table: TableOut = Field(validation_alias="size")
    columns: list[ColumnOut]
    note: str = Field(description="Why columns have no statistics, if they have none")
    indexes: list[TableIndexOut]
    bloat: BloatOut | None = Field(
        description="Of the heap; null for a partitioned table, and where it cannot be told"
    )
    vacuum: VacuumOut | None = Field(description="Null for a partitioned table: ask for a partition")
    history: list[SizePointOut] = Field(description="Of the last week, hour by hour")
    findings: list[FindingOut]
