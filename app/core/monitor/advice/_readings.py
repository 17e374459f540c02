"""How a statement reads its tables: conditions, joins, and the order in which a LIMIT wants rows.

Taken from the plan that the server makes when it may use neither indexes nor nested loops: there every condition stands at its table,
every join condition at its join and every order at a sort, whatever indexes exist.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from app.core.monitor._plan import PlanStep
from app.core.monitor.advice._expressions import Column, Expression, changed, columns_of, conjuncts
from app.core.monitor.advice._reading import read
from app.core.monitor.advice._tables import TableFacts

Tables = Mapping[tuple[str, str], TableFacts]
_PARTITION = re.compile(r"_\d+$")
_UNKNOWN_LIMIT = 50.0
_EXTREME = re.compile(r"^(?:PARTIAL )?(min|max)\((.*)\)$", re.DOTALL)
_ORDER = re.compile(r"^(.*?)( DESC| USING \S+)?(?: NULLS (FIRST|LAST))?$", re.DOTALL)
_STREAMS = frozenset({"LockRows", "Result", "ProjectSet", "ModifyTable", "Append", "Merge Append", "Gather", "Subquery Scan"})  # fmt: skip
_DRIVABLE: Mapping[str, tuple[bool, bool]] = {
    # Whether the rows of the first and of the second side can be looked up from the other: not those that are kept anyway.
    "Inner": (True, True),
    "Left": (False, True),
    "Right": (True, False),
    "Semi": (True, True),
    "Right Semi": (True, True),
    "Anti": (False, True),
    "Right Anti": (True, False),
}


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of an order."""

    expression: Expression
    is_descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Order:
    """The first ``limit`` of ``rows`` rows are wanted, ordered by ``keys`` (none: in any order). ``aliases``: what is read for them."""

    keys: tuple[SortKey, ...]
    limit: float
    rows: float
    aliases: frozenset[str]


@dataclass(frozen=True, slots=True)
class Join:
    """A condition with columns of another part of the statement, which yields ``rows`` rows."""

    clause: Expression
    rows: float


@dataclass(frozen=True, slots=True)
class Reading:
    """One table as the statement reads it. ``needed``: its columns that are used above; rows: those that fit the conditions.
    is_aggregated: only sums or counts of them are wanted."""

    alias: str
    table: TableFacts
    clauses: tuple[Expression, ...]
    joins: tuple[Join, ...]
    order: Order | None
    needed: frozenset[str]
    rows: float
    is_aggregated: bool = False


@dataclass(frozen=True, slots=True)
class _Context:
    limit: float | None = None
    keys: tuple[SortKey, ...] | None = None
    rows: float = 0.0
    aliases: frozenset[str] = frozenset()
    joins: tuple[Join, ...] = ()
    is_aggregated: bool = False


def canonical(alias: str, table: TableFacts) -> str:
    """The alias of a table; of a partition, that of the whole."""
    return _PARTITION.sub("", alias) if table.is_partitioned else alias


def readings_of(root: PlanStep, tables: Tables) -> list[Reading]:
    """All readings, partitions of one table as one."""
    return _Walk(root, tables).readings()


def written_tables(root: PlanStep) -> Iterator[PlanStep]:
    """The steps that change tables."""
    yield from (step for step in root.walk() if step.kind == "ModifyTable" and step.relation is not None)


class _Walk:
    def __init__(self, root: PlanStep, tables: Tables) -> None:
        self._root = root
        self._tables = tables
        self._names = {
            step.alias: canonical(step.alias, table)
            for step in root.walk()
            if step.alias is not None
            and (table := tables.get((step.schema or "", step.relation or ""))) is not None
        }
        # Of a statement with one table, outputs are printed without its name.
        names = set(self._names.values())
        self._only = next(iter(names)) if len(names) == 1 else None
        self._found: dict[str, Reading] = {}

    def readings(self) -> list[Reading]:
        self._visit(self._root, _Context())
        return [replace(reading, needed=self._needed(alias)) for alias, reading in self._found.items()]

    def expression(self, text: str) -> Expression:
        """The expression with the aliases of partitions replaced."""
        return changed(
            read(text),
            lambda it: (
                Column(self._names.get(it.alias or "", it.alias or self._only), it.name)
                if isinstance(it, Column)
                else None
            ),
        )

    def _conditions(self, *texts: str | None) -> tuple[Expression, ...]:
        return tuple(part for text in texts if text for part in conjuncts(self.expression(text)))

    def _aliases(self, step: PlanStep) -> frozenset[str]:
        return frozenset(self._names.get(it.alias, it.alias) for it in step.walk() if it.alias is not None)

    def _visit(self, step: PlanStep, context: _Context) -> None:
        if step.kind == "Seq Scan":
            self._scanned(step, context)
        mine: list[PlanStep] = []
        apart: list[PlanStep] = []
        for child in step.children:
            (apart if child.relationship in {"InitPlan", "SubPlan"} else mine).append(child)
        for child in apart:
            self._visit(child, _Context())
        below = self._below(step, context)
        if len(mine) == 2 and step.join_type is not None:
            self._joined(step, mine[0], mine[1], below)
        else:
            for child in mine:
                self._visit(child, below)

    def _below(self, step: PlanStep, context: _Context) -> _Context:
        """What the steps below are asked for."""
        if step.kind == "Limit" and step.children:
            rows = step.children[0].rows
            return _Context(self._wanted(step, rows), None, rows, self._aliases(step), context.joins)
        if step.kind in {"Sort", "Incremental Sort"}:
            if context.limit is None or context.keys is not None:
                return _Context(joins=context.joins, is_aggregated=context.is_aggregated)
            keys = tuple(self._sort_key(key) for key in step.sort_key)
            return replace(context, keys=keys, rows=step.rows)
        if step.kind == "Aggregate":
            return self._extreme(step)
        if step.join_type is not None or (
            step.kind in _STREAMS and not (step.kind == "Subquery Scan" and step.filter)
        ):
            return context
        return _Context(joins=context.joins if step.kind in {"Hash", "Materialize", "Memoize"} else ())

    def _wanted(self, step: PlanStep, rows: float) -> float:
        """A LIMIT whose number is not known is planned as a tenth of the rows; people ask for a page."""
        is_guess = abs(step.rows - max(1.0, round(rows * 0.1))) <= 1 and step.rows > _UNKNOWN_LIMIT
        return _UNKNOWN_LIMIT if is_guess else step.rows

    def _sort_key(self, text: str) -> SortKey:
        match = _ORDER.match(text)
        expression, direction, nulls = match.groups() if match else (text, None, None)
        is_descending = direction == " DESC"
        return SortKey(
            self.expression(expression), is_descending, is_descending if nulls is None else nulls == "FIRST"
        )

    def _extreme(self, step: PlanStep) -> _Context:
        """min(x) is the first row ordered by x, and max(x) the last; both by one index."""
        found = [match.groups() for it in step.output if (match := _EXTREME.match(it))]
        inside = {it[1] for it in found}
        if step.strategy != "Plain" or step.group_key or len(found) != len(step.output) or len(inside) != 1:
            return _Context(is_aggregated=True)
        is_last = all(it[0] == "max" for it in found)
        key = SortKey(self.expression(found[0][1]), is_last, is_last)
        rows = step.children[0].rows if step.children else 1.0
        return _Context(1.0, (key,), rows, self._aliases(step))

    def _joined(self, step: PlanStep, first: PlanStep, second: PlanStep, context: _Context) -> None:
        clauses = self._conditions(step.hash_cond, step.merge_cond, step.join_filter)
        drivable = _DRIVABLE.get(step.join_type or "", (False, False))
        sides = (self._aliases(first), self._aliases(second))
        for index, (side, other) in enumerate(((first, second), (second, first))):
            joins = context.joins
            if drivable[index]:
                joins += tuple(
                    Join(clause, other.rows)
                    for clause in clauses
                    if {it.alias for it in columns_of(clause)} & sides[1 - index]
                )
            # An order can be walked on the side whose rows are kept.
            keeps = (
                step.join_type == "Inner"
                or not drivable[index]
                or (index == 0 and "Semi" in (step.join_type or ""))
            )
            below = replace(context, joins=joins, is_aggregated=False) if keeps else _Context(joins=joins)
            self._visit(side, below)

    def _scanned(self, step: PlanStep, context: _Context) -> None:
        table = self._tables.get((step.schema or "", step.relation or ""))
        if table is None or step.alias is None:
            return
        alias = self._names[step.alias]
        before = self._found.get(alias)
        if before is not None:  # another partition of it
            self._found[alias] = replace(before, rows=before.rows + step.rows)
            return
        order = None
        if context.limit is not None:
            order = Order(context.keys or (), context.limit, max(1.0, context.rows), context.aliases)
        clauses = self._conditions(step.filter)
        joins = tuple(it for it in context.joins if any(c.alias == alias for c in columns_of(it.clause)))
        self._found[alias] = Reading(
            alias, table, clauses, joins, order, frozenset(), step.rows, context.is_aggregated
        )

    def _needed(self, alias: str) -> frozenset[str]:
        """Columns of it that anything uses; a scan's own output is more than that. ``*`` where the rows themselves are."""
        texts: list[str] = []
        for step in self._root.walk():
            if step.kind != "Seq Scan" or step is self._root:
                texts += step.output
            texts += [it for it in (step.filter, step.hash_cond, step.merge_cond, step.join_filter) if it]
            texts += [*(_ORDER.sub(r"\1", key) for key in step.sort_key), *step.group_key]
        found = (
            {"*"} if any(step.kind in {"ModifyTable", "LockRows"} for step in self._root.walk()) else set()
        )
        for text in texts:
            expression = self.expression(text)
            found |= {it.name for it in columns_of(expression) if it.alias == alias}
        return frozenset(found)
