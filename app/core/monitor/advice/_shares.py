"""How selective each way is, with a look at the rows where the planner can only guess."""

from app.core.monitor.advice._classes import Classes
from app.core.monitor.advice._estimates import Estimates, Sampled
from app.core.monitor.advice._expressions import Column, Expression, changed, columns_of
from app.core.monitor.advice._options import Shared
from app.core.monitor.advice._readings import Reading
from app.core.monitor.advice._ways import Way

_ENOUGH = 300
_MANY_VALUES = 0.5


class Shares:
    """Of one statement. The planner takes every condition on an expression for one row in 200; a sample tells better."""

    def __init__(self, estimates: Estimates, classes: Classes) -> None:
        self.estimates = estimates
        self._classes = classes

    async def of(self, reading: Reading, way: Way) -> Shared | None:
        """The way with its share of rows; None if that cannot be told."""
        share = await self.estimates.share(reading.alias, reading.table, way.clauses)
        if share is None:
            return None
        if self._is_guess(reading, way):
            sampled = await self._sampled(reading, way)
            if sampled is not None and sampled.rows >= _ENOUGH:
                share = _share(sampled, share)
        return Shared(way, share)

    def _is_guess(self, reading: Reading, way: Way) -> bool:
        keys = [key.expression for key in way.keys]
        indexed = {key.expression for index in reading.table.indexes for key in index.keys}
        return not all(isinstance(it, Column) or it in indexed for it in keys)

    async def _sampled(self, reading: Reading, way: Way) -> Sampled | None:
        if not all(self._classes.is_builtin(it) for it in way.clauses):
            return None
        value = _value(reading, way)
        return (
            None
            if value is None
            else await self.estimates.sampled(reading.alias, reading.table, way.clauses, value)
        )


def _value(reading: Reading, way: Way) -> Expression | None:
    """The key as it stands in the condition."""
    columns = [it for clause in way.clauses for it in columns_of(clause) if it.alias == reading.alias]
    return columns[0] if columns and way.kind == "search" else _aliased(reading.alias, way.keys[0].expression)


def _aliased(alias: str, expression: Expression) -> Expression:
    return changed(expression, lambda it: Column(alias, it.name) if isinstance(it, Column) else None)


def _share(sampled: Sampled, estimate: float) -> float:
    if sampled.is_known:
        return max(sampled.fitting / sampled.rows, min(estimate, 1 / sampled.rows))
    if sampled.distinct >= _MANY_VALUES * sampled.rows:
        return min(estimate, 1 / sampled.distinct)
    return 1 / max(1, sampled.distinct)
