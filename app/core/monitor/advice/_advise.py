"""Which index would make a statement faster, or why none would."""

import math
from collections.abc import Sequence
from typing import Any, Final

from app.core.monitor._admission import admitted
from app.core.monitor._explain import PLANNING_MS, explain
from app.core.monitor._plan import PlanStep, plan_of
from app.core.monitor._server import MonitorServer, ServerFacts
from app.core.monitor.advice._catalog import tables_of
from app.core.monitor.advice._charges import charges_of
from app.core.monitor.advice._choice import MIN_COST, MIN_PAGES, MIN_ROWS, Choice, Chosen, Declined
from app.core.monitor.advice._class_questions import classes_of
from app.core.monitor.advice._composing import Composer
from app.core.monitor.advice._cost import Look, cost_settings
from app.core.monitor.advice._estimates import Estimates
from app.core.monitor.advice._expressions import Column, Expression, columns_of
from app.core.monitor.advice._foreign_keys import has_index, references_of
from app.core.monitor.advice._hypothetical import Hypothesis
from app.core.monitor.advice._indexes import Index
from app.core.monitor.advice._options import Option, Options
from app.core.monitor.advice._readings import Reading, Tables, readings_of
from app.core.monitor.advice._reasons import cautions
from app.core.monitor.advice._rewrites import materialized, rewrite_of
from app.core.monitor.advice._settings import settings
from app.core.monitor.advice._shares import Shares
from app.core.monitor.advice._suggestions import Advice, Rewrite
from app.core.monitor.advice._verdicts import REFUSED, Court
from app.core.monitor.advice._ways import Key, Ways, flattened, merged, names_partition

ADVICE_S: Final = 8.0
"""Seconds that all questions about one statement may take together."""

_BARE = (
    "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;"
    " SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_incremental_sort = off;"
    " SET LOCAL enable_memoize = off; SET LOCAL enable_tidscan = off"
)
_SERIAL = "SET LOCAL max_parallel_workers_per_gather = 0"
_UNPRUNED = "SET LOCAL enable_partition_pruning = off"
_SEPARATE_ROWS = 50
_MAX_READINGS = 25


async def advise(server: MonitorServer, sql: str) -> Advice:
    """Indexes for one SELECT, INSERT, UPDATE, DELETE or MERGE; ``$n`` are planned for any value.

    The server plans it twice, as it would run and without indexes, and is asked for its estimates; the statement never runs. Up to 200
    pages of a table are read where an expression has no statistics. With hypopg the planner itself is asked about each b-tree, otherwise
    costs are
    computed from the statistics; ``Suggestion.verified`` says which. Raises QueryNotExplainable (422) for what cannot be planned, and as
    ``MonitorServer.ask`` does. Not for statements whose cost is in what they compute or return: no index helps there.
    """
    sql = admitted(sql)
    facts = await server.facts()
    async with server.ask(statement_timeout_ms=PLANNING_MS, budget_s=ADVICE_S) as connection:
        return await advise_over(connection, sql, facts)


async def advise_over(connection: Any, sql: str, facts: ServerFacts) -> Advice:
    """The same over a connection of ``MonitorServer.ask``, for several statements in one go."""
    async with settings(connection, _SERIAL):
        document = await explain(connection, sql)
        if _leaves_out(document):
            await connection.execute(_UNPRUNED)
            document = await explain(connection, sql)
        root = plan_of(document).root
        async with settings(connection, _BARE):
            without = plan_of(await explain(connection, sql)).root
        return await _Statement(connection, sql, facts, root, without).advice()


def _leaves_out(plan: Any) -> bool:
    """Whether partitions are missing because no value of ``$1`` is known: they would show no condition."""
    if isinstance(plan, dict):
        return plan.get("Subplans Removed", 0) > 0 or any(map(_leaves_out, plan.values()))
    return isinstance(plan, list) and any(map(_leaves_out, plan))


class _Statement:
    def __init__(
        self, connection: Any, sql: str, facts: ServerFacts, root: PlanStep, without: PlanStep
    ) -> None:
        self._connection = connection
        self._sql = sql
        self._facts = facts
        self._root = root
        self._without = without
        self._rewrites: list[Rewrite] = []
        self._reasons: list[str] = []

    async def advice(self) -> Advice:
        """All that is to be said."""
        tables = await tables_of(self._connection, _names(self._root, self._without))
        self._charges = charges_of(self._root, tables)
        self._loops = charges_of(self._without, tables).loops
        self._readings = self._costliest(readings_of(self._without, tables))
        self._classes = await classes_of(
            self._connection,
            [(it.alias, it.table, _expressions(it)) for it in self._readings],
            has_trigrams="pg_trgm" in self._facts.installed | self._facts.available,
        )
        self._shares = Shares(Estimates(self._connection), self._classes)
        self._settings = await cost_settings(self._connection)
        self._choice = Choice(self._settings, self._charges)
        results = [await self._of_reading(it) for it in self._readings]
        self._rewrites += materialized(self._root)
        composer = Composer(self._facts, self._charges.total)
        await self._add_chosen(composer, results)
        await self._add_references(composer, tables)
        return composer.advice(self._rewrites, self._explained(results, tables))

    def _costliest(self, readings: list[Reading]) -> list[Reading]:
        """The advice on one statement must not take for ever."""
        if len(readings) <= _MAX_READINGS:
            return readings
        self._reasons.append(
            f"of {len(readings)} readings of tables only the {_MAX_READINGS} that cost most were looked at"
        )
        return sorted(readings, key=lambda it: self._charges.by_alias.get(it.alias, 0.0), reverse=True)[
            :_MAX_READINGS
        ]

    def _explained(self, results: Sequence[Chosen | Declined], tables: Tables) -> list[str]:
        declined = [it.reason for it in results if isinstance(it, Declined)]
        if not results:
            declined.append("the statement reads no table")
        return [*self._reasons, *declined, *(line for it in tables.values() for line in cautions(it))]

    async def _of_reading(self, reading: Reading) -> Chosen | Declined:
        table = reading.table
        if not table.is_ordinary:
            return Declined(reading, f"{table.title} is no table that could have an index")
        if not table.is_analyzed:
            return Declined(
                reading,
                f"{table.title} has no statistics that the monitor may see: ANALYZE it, or GRANT SELECT",
            )
        if (tiny := self._choice.too_small(reading)) is not None:
            return tiny
        reader = Ways(reading.alias, table, self._classes)
        clauses = [it for it in flattened(reading.clauses) if not names_partition(table, it)]
        options = await self._options(reading, reader, clauses)
        chosen = self._choice.of(reading, options, self._loops.get(reading.alias, 1.0))
        # What is read cheaply, by an index that there is, needs no other words.
        is_dear = self._charges.by_alias.get(reading.alias, 0.0) >= MIN_COST
        if isinstance(chosen, Declined) and table.rows >= MIN_ROWS and is_dear:
            self._rewrites += [
                it for clause in clauses if (it := rewrite_of(reading, reader, clause)) is not None
            ]
        return chosen

    async def _options(self, reading: Reading, reader: Ways, clauses: Sequence[Expression]) -> list[Option]:
        ways = [way for clause in clauses if (way := reader.of(clause)) is not None]
        ways += [way for join in reading.joins if (way := reader.of(join.clause, join)) is not None]
        shared = [it for way in merged(ways) if (it := await self._shares.of(reading, way)) is not None]
        fitting = await self._shares.estimates.share(reading.alias, reading.table, clauses)
        maker = Options(reading, shared, 1.0 if fitting is None else fitting, self._others(reading))
        keys = reading.order.keys if reading.order is not None else ()
        nearest = reader.nearest(keys[0].expression) if len(keys) == 1 and not keys[0].is_descending else None
        options = [maker.nearest(nearest)] if nearest is not None else []
        options += maker.all(may_walk=all(reader.can_order(it.expression) for it in keys))
        for clause in clauses:
            options += await self._either(reading, reader, clause)
        return options

    async def _either(self, reading: Reading, reader: Ways, clause: Expression) -> list[Option]:
        """For OR: the best keys of each side, all sides or none."""
        indexes, share = [], 0.0
        for side in reader.alternatives(clause):
            shared = [it for way in merged(side) if (it := await self._shares.of(reading, way)) is not None]
            if not shared:
                return []
            shared.sort(key=lambda it: (it.way.kind != "equal", it.share))
            best = [it for it in shared if it.way.kind != "search"][:2] or shared[:1]
            if len(best) == 2 and best[0].share * reading.table.rows < _SEPARATE_ROWS:
                best = best[:1]
            keys = tuple(key for it in best for key in it.way.keys)
            indexes.append(Index(best[0].way.method, keys, extension=best[0].way.extension))
            share += math.prod(it.share for it in best)
        if not indexes:
            return []
        return [Option(tuple(dict.fromkeys(indexes)), Look(min(1.0, share), values=len(indexes)), equals=1)]

    def _others(self, reading: Reading) -> float | None:
        """What each wanted row costs in the other tables below the same LIMIT."""
        if reading.order is None:
            return None
        cost = 0.0
        for other in self._readings:
            if other.alias == reading.alias or other.alias not in reading.order.aliases:
                continue
            joined = {
                c.name for join in other.joins for c in columns_of(join.clause) if c.alias == other.alias
            }
            firsts = {it.keys[0].expression for it in other.table.indexes if it.keys and it.is_valid}
            if any(Column(None, name) in firsts for name in joined):
                cost += 10.0
            else:
                cost += self._charges.by_alias.get(other.alias, 0.0) / max(1.0, reading.order.limit)
        return cost

    async def _add_chosen(self, composer: Composer, results: Sequence[Chosen | Declined]) -> None:
        chosen = [it for it in results if isinstance(it, Chosen)]
        if chosen and not composer.is_worth(chosen):
            self._reasons.append("an index would save too little of what the statement costs as a whole")
            return
        if not chosen:
            return
        if not self._facts.has("hypopg"):
            composer.add(chosen)
            return
        court = Court(Hypothesis(self._connection, self._sql), self._settings, self._charges.total)
        proposed = {
            (it.reading.table.oid, index): (it.reading.table, index)
            for it in chosen
            for index in it.option.indexes
        }
        verified = await court.decide(list(proposed.values()))
        if not verified.indexes:
            self._reasons.append(REFUSED)
            return
        composer.add(chosen, verified)

    async def _add_references(self, composer: Composer, tables: Tables) -> None:
        references = await references_of(self._connection, self._root, tables, self._sql)
        known = await tables_of(self._connection, [it.table for it in references]) if references else {}
        for reference in references:
            table = known[reference.table]
            existing = has_index(table, reference.columns)
            if existing is not None:
                self._reasons.append(
                    f"{table.title} is searched by {existing} for rows that refer to {reference.referred}"
                )
            elif table.rows < MIN_ROWS or table.pages < MIN_PAGES:
                self._reasons.append(
                    f"{table.title} refers to {reference.referred}, and is so small that reading all of it is the fastest way"
                )
            else:
                index = Index("btree", tuple(Key(Column(None, name)) for name in reference.columns))
                composer.add_reference(table, index, reference, self._settings)


def _names(*roots: PlanStep) -> set[tuple[str, str]]:
    return {(it.schema or "", it.relation) for root in roots for it in root.walk() if it.relation is not None}


def _expressions(reading: Reading) -> tuple[Expression, ...]:
    keys = reading.order.keys if reading.order is not None else ()
    return (*reading.clauses, *(it.clause for it in reading.joins), *(it.expression for it in keys))
