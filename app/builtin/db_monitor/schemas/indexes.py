"""What is wrong with the indexes."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.builtin.db_monitor.schemas.out import InSchemaOut, Out


class UnusedIndexOut(InSchemaOut):
    """An index that nobody scanned for 35 days; only the verdict `unused` says that it may go."""

    table: str
    name: str
    bytes: int = Field(description="As the last VACUUM or ANALYZE saw it")
    scans: int
    last_scan: datetime | None = Field(description="PostgreSQL 16 or newer")
    since: datetime = Field(description="From when on scans were counted")
    verdict: Literal["unused", "kept", "cannot_judge"]
    reason: str
    ddl: list[str]
    alembic: str | None


class RedundantIndexOut(InSchemaOut):
    """An index that another one makes superfluous; without `ddl` it holds a rule, and a person must decide."""

    table: str
    name: str
    kind: Literal["duplicate", "prefix"]
    covered_by: str
    bytes: int
    other_bytes: int = Field(description="The size of the one that covers it")
    scans: int
    ddl: list[str]
    alembic: str | None


class InvalidIndexOut(InSchemaOut):
    """An index that no statement may use."""

    table: str
    name: str
    is_unique: bool
    is_written: bool = Field(description="Every write of the table pays for it")
    bytes: int
    cause: str
    ddl: list[str]


class UnindexedKeyOut(InSchemaOut):
    """A foreign key that no index begins with: a row deleted from `references` reads the whole table."""

    table: str
    constraint: str
    columns: list[str]
    references: str
    rows: int = Field(description="Of the table, estimated")
    bytes: int
    deletes: int = Field(description="Rows deleted from `references` since statistics count")
    ddl: list[str]
    alembic: str


class IndexesOut(Out):
    """The indexes of the database that need somebody; each list largest first."""

    unused: list[UnusedIndexOut]
    redundant: list[RedundantIndexOut]
    invalid: list[InvalidIndexOut]
    foreign_keys: list[UnindexedKeyOut]
    findings: list[FindingOut]


class IndexQuery(BaseModel):
    """How much of each kind."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=100, description="Indexes of each kind, the largest")
