"""What the server owes itself: freezing, vacuuming, analysing, and sequences that end."""

from datetime import datetime

from pydantic import BaseModel, Field

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.builtin.db_monitor.schemas.out import Out


class DatabaseAgeOut(Out):
    """``limit_percent`` of the age at which autovacuum freezes, ``stop_percent`` of that at which writes stop."""

    database: str
    transaction_age: int
    multixact_age: int
    limit_percent: float
    stop_percent: float


class TableAgeOut(Out):
    """As that of a database, with the table's own limits; ``belongs_to`` for TOAST is whose it is."""

    table: str
    belongs_to: str
    is_temporary: bool
    is_toast: bool
    bytes: int
    transaction_age: int
    multixact_age: int
    limit_percent: float
    stop_percent: float


class HolderOut(Out):
    """Who keeps dead rows from being taken away; ``age`` in transactions."""

    kind: str
    subject: str
    age: int
    since_s: float | None


class TableCareOut(Out):
    """Rows that wait for vacuum or ANALYZE, and the table's own thresholds."""

    table: str
    is_parent: bool
    is_enabled: bool
    live_rows: int
    dead_rows: int
    dead_threshold: float = Field(validation_alias="vacuum_threshold")
    changed_since_analyze: int = Field(validation_alias="changed_rows")
    analyze_threshold: float
    last_vacuum: datetime | None
    last_analyze: datetime | None


class RunningVacuumOut(Out):
    """A vacuum under way; ``is_forced``: against wraparound."""

    pid: int
    database: str
    table: str | None
    phase: str
    is_automatic: bool
    is_forced: bool
    scanned_percent: float
    index_rounds: int
    running_s: float | None


class SequenceOut(Out):
    """``limit`` is the sequence's end or that of the narrowest column that holds its numbers, which is ``column``."""

    name: str
    type: str
    column: str | None
    column_type: str | None
    cycles: bool
    last_value: int | None
    limit: int
    used_percent: float
    is_narrowed: bool


class MaintenanceOut(BaseModel):
    """Parts fail alone: ``unavailable`` says by name why a part has no answer, and its members are empty or null then."""

    databases: list[DatabaseAgeOut]
    tables: list[TableAgeOut]
    holders: list[HolderOut]
    autovacuum_is_on: bool | None
    autovacuum_workers: int | None
    autovacuum_busy: int | None
    stats_reset: datetime | None
    care: list[TableCareOut]
    running: list[RunningVacuumOut]
    sequences_total: int | None
    sequences_locked: int | None
    sequences_denied: int | None
    sequences: list[SequenceOut]
    unavailable: dict[str, str]
    findings: list[FindingOut]
