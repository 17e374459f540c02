"""What would make a statement faster."""

from typing import Literal, Self

from pydantic import BaseModel, Field

from app.builtin.db_monitor.schemas.out import Out
from app.builtin.db_monitor.schemas.queries import StatementIn
from app.core.monitor import Advice, WorkloadIndex, redacted


class StatementToAdviseIn(StatementIn):
    """Which statement: one that pg_stat_statements knows, or a text. It never runs."""

    analyze: Literal[False] = Field(default=False, description="Advice needs no run; only false is taken")


class SuggestionOut(Out):
    """An index that an operator may create; the service creates none. Costs are in the planner's unit.

    ``verified``: ``hypopg`` asked the planner with a hypothetical index, ``estimated`` computed it from statistics. ``size_bytes`` is an
    estimate. ``writes_per_day`` of the table maintain it, and updates of its columns are no longer heap-only (``hot_percent`` are now).
    ``replaces``: indexes that become needless. ``needs_extension``: to be created before.
    """

    schema_name: str = Field(validation_alias="schema")
    table: str
    name: str
    method: str
    columns: list[str]
    include: list[str]
    predicate: str | None
    ddl: list[str]
    alembic: str
    reason: str
    cost_before: float
    cost_after: float
    gain: float
    verified: Literal["hypopg", "estimated"]
    size_bytes: int
    writes_per_day: float | None
    hot_percent: float | None
    replaces: list[str]
    needs_extension: str | None


class RewriteOut(Out):
    """A condition that no index serves as it is written; ``instead`` is what one could serve, values as ``?``."""

    table: str
    condition: str
    instead: str | None
    reason: str


class AdviceOut(BaseModel):
    """Advice on one statement, which is shown without its values. ``reasons`` say why there is no index, or no other one."""

    statement: str
    suggestions: list[SuggestionOut]
    rewrites: list[RewriteOut]
    reasons: list[str]
    total_cost: float
    is_verified: bool

    @classmethod
    def of(cls, sql: str, advice: Advice) -> Self:
        """``advice`` as it goes out."""
        return cls(
            statement=redacted(sql),
            suggestions=SuggestionOut.all_of(advice.suggestions),
            rewrites=RewriteOut.all_of(advice.rewrites),
            reasons=list(advice.reasons),
            total_cost=advice.cost,
            is_verified=advice.is_verified,
        )


class WorkloadIndexOut(SuggestionOut):
    """An index and the statements (`queryids`) that it helps. ``saved_ms_per_day``: of their time, if that falls as the planner's cost
    does: to rank by, and no promise.
    """

    queryids: list[str]
    saved_ms_per_day: float
    write_bytes_per_day: float | None

    @classmethod
    def of(cls, index: WorkloadIndex, per_day: float) -> "WorkloadIndexOut":
        """``index`` as it goes out; ``per_day`` makes a day's of its milliseconds."""
        fields = SuggestionOut.model_validate(index.suggestion).model_dump(by_alias=False)
        return WorkloadIndexOut.model_construct(
            **fields,
            queryids=[str(it) for it in index.statements],
            saved_ms_per_day=round(index.saved_ms * per_day, 1),
            write_bytes_per_day=index.write_bytes_per_day,
        )


class WorkloadAdviceOut(BaseModel):
    """One set of indexes for the statements that took most time in the last day, the most useful first. ``is_ready`` false: it is being
    worked out, or cannot be; ``reason`` says which. ``skipped`` of the ``asked`` statements could not be planned.
    """

    is_ready: bool
    reason: str | None
    asked: int
    skipped: int
    indexes: list[WorkloadIndexOut]
