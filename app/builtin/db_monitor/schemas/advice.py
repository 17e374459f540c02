"""What would make a statement faster."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from app.builtin.db_monitor.schemas.queries import StatementIn
from app.core.monitor import Advice, redacted


class StatementToAdviseIn(StatementIn):
    """Which statement: one that pg_stat_statements knows, or a text. It never runs."""

    analyze: Literal[False] = Field(default=False, description="Advice needs no run; only false is taken")


class SuggestionOut(BaseModel):
    """An index that an operator may create; the service creates none. Costs are in the planner's unit.

    ``verified``: ``hypopg`` asked the planner with a hypothetical index, ``estimated`` computed it from statistics. ``size_bytes`` is an
    estimate. ``writes_per_day`` of the table maintain it, and updates of its columns are no longer heap-only (``hot_percent`` are now).
    ``replaces``: indexes that become needless. ``needs_extension``: to be created before.
    """

    model_config = ConfigDict(from_attributes=True)

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


class RewriteOut(BaseModel):
    """A condition that no index serves as it is written; ``instead`` is what one could serve, values as ``?``."""

    model_config = ConfigDict(from_attributes=True)

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
            suggestions=[SuggestionOut.model_validate(it) for it in advice.suggestions],
            rewrites=[RewriteOut.model_validate(it) for it in advice.rewrites],
            reasons=list(advice.reasons),
            total_cost=advice.cost,
            is_verified=advice.is_verified,
        )
