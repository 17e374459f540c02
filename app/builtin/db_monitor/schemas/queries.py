"""One statement: what is asked about it, and its plan."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.builtin.db_monitor.schemas.out import Out
from app.core.monitor import QUERYIDS, StatementReport, shown_steps


class StatementIn(BaseModel):
    """Which statement: one that pg_stat_statements knows, or a text. ``analyze`` runs it, which only a statement that reads may."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    queryid: Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,19}$")] | None = Field(
        default=None,
        description="Of pg_stat_statements; a text, because a number in JSON loses digits of 64 bits",
    )
    sql: str | None = Field(
        default=None,
        description="One SELECT, INSERT, UPDATE, DELETE, MERGE or VALUES of at most 100,000 bytes; needs the scope write:monitor",
    )
    analyze: bool = Field(
        default=False, description="Run it, for 5 seconds at most; needs the scope write:monitor"
    )

    @field_validator("queryid")
    @classmethod
    def _fits(cls, value: str | None) -> str | None:
        if value is not None and int(value) not in QUERYIDS:
            raise ValueError("must be a signed number of 64 bits")
        return value

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.queryid is None) == (self.sql is None):
            raise ValueError("needs either queryid or sql")
        return self

    @property
    def needs_write(self) -> bool:
        """Whether only ``write:monitor`` may ask this."""
        return self.sql is not None or self.analyze


class StepRunOut(Out):
    """What a step did when it ran: rows and milliseconds of one loop, blocks of all."""

    loops: float
    rows: float
    startup_ms: float | None
    total_ms: float | None
    removed_by_filter: float
    removed_by_recheck: float
    removed_by_join: float
    hit_blocks: int
    read_blocks: int
    temp_read_blocks: int
    temp_written_blocks: int
    sort_method: str | None
    sort_space_kb: int | None
    is_sort_on_disk: bool
    hash_batches: int | None
    heap_fetches: int | None
    lossy_blocks: int | None
    exact_blocks: int | None


class PlanStepOut(Out):
    """One step; ``parent`` is the number of the step above it. ``details`` are conditions and keys, every value in them as ``?``."""

    number: int
    parent: int | None
    depth: int
    kind: str
    table: str | None
    alias: str | None
    index: str | None
    subplan: str | None
    details: list[tuple[str, str]]
    rows: float
    width: int
    startup_cost: float
    total_cost: float
    cost_percent: float
    is_costliest: bool
    measured: StepRunOut | None


class StatementReportOut(BaseModel):
    """A statement without its values, its plan from the top down, and what is worth knowing about it. Costs are in the planner's unit."""

    statement: str
    steps: list[PlanStepOut]
    findings: list[FindingOut]
    suggestions: list[FindingOut]
    total_cost: float
    rows: float
    planning_ms: float | None
    execution_ms: float | None
    is_generic: bool
    is_analyzed: bool

    @classmethod
    def of(cls, report: StatementReport) -> Self:
        """``report`` as it goes out."""
        plan = report.plan
        return cls(
            statement=report.text,
            steps=PlanStepOut.all_of(shown_steps(plan)),
            findings=FindingOut.all_of(report.findings),
            suggestions=FindingOut.all_of(report.suggestions),
            total_cost=plan.root.total_cost,
            rows=plan.root.rows,
            planning_ms=plan.planning_ms,
            execution_ms=plan.execution_ms,
            is_generic=report.is_generic,
            is_analyzed=report.is_analyzed,
        )
