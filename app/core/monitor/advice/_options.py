"""The indexes that come into question for one table of a statement."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from app.core.monitor.advice._cost import CostSettings, Look, cost_of
from app.core.monitor.advice._expressions import Column, Expression, IsTest
from app.core.monitor.advice._indexes import Index, entry_bytes
from app.core.monitor.advice._orders import are_of, order_key, rows_together
from app.core.monitor.advice._readings import Reading
from app.core.monitor.advice._tables import TableFacts, bare
from app.core.monitor.advice._ways import Key, Way

MAX_KEYS = 3
_GAMBLE = 10.0
_MANY_FIT = 0.3
_FEW_TOGETHER = 2.0
_TELLING = 100.0
_SORTED_ROW = 0.01


@dataclass(frozen=True, slots=True)
class Option:
    """Indexes that together serve one reading (more than one only for OR), and what the look would be.

    ``share``: of the table's rows that the keys find. ``is_ordered``: it walks in the order that a LIMIT wants. ``extra``: cost of the rest
    of the walk, in other tables. ``equals``: how many keys at the front are equalities. ``is_gamble``: the walk passes many rows that
    do not fit, and how many is luck.
    """

    indexes: tuple[Index, ...]
    look: Look
    is_ordered: bool = False
    is_join: bool = False
    extra: float = 0.0
    equals: int = 0
    is_gamble: bool = False

    @property
    def width(self) -> int:
        """What it takes: keys, and columns carried along."""
        return sum(len(it.keys) + len(it.include) + len(it.predicate) for it in self.indexes)

    def cost(self, table: TableFacts, settings: CostSettings) -> float:
        """Cost of the reading by it."""
        return cost_of(self.look, table, settings) + self.extra


@dataclass(frozen=True, slots=True)
class Shared:
    """A way and the share of rows that it leaves."""

    way: Way
    share: float


class Options:
    """Makes them for one reading. ``others``: what walking on into the other tables costs for each row that is wanted, None if too much."""

    def __init__(
        self, reading: Reading, ways: Sequence[Shared], fitting: float, others: float | None
    ) -> None:
        self._reading = reading
        self._table = reading.table
        self._fitting = fitting
        self._others = others
        self._may_walk = True
        local = [it for it in ways if it.way.join is None]
        self._equal = _sorted(it for it in local if it.way.kind == "equal")
        self._ranges = _sorted(it for it in local if it.way.kind == "range")
        self._search = _sorted(it for it in local if it.way.kind == "search")
        self._rare = _sorted(it for it in local if it.way.kind == "rare")
        self._joins = [it for it in ways if it.way.join is not None and it.way.kind == "equal"]
        self._search_joins = [it for it in ways if it.way.join is not None and it.way.kind == "search"]

    def nearest(self, key: Key) -> Option:
        """Walking outwards from a point."""
        look = Look(1.0, fraction=self._share_wanted(), is_ordered=True, is_search=True)
        return self._gamble(Option((Index("gist", (key,)),), look, is_ordered=True))

    def all(self, *, may_walk: bool = True) -> Iterator[Option]:
        """Every option, good or bad; ``may_walk``: whether an index can hold what is ordered by."""
        self._may_walk = may_walk
        yield from self._filters()
        yield from self._searches()
        yield from self._joined()
        yield from self._searched_joins()
        yield from self._partial()
        if self._is_ordered:
            yield from self._ordered()
            for rare in (*self._rare, *(it for it in self._equal if it.way.is_null)):
                yield from self._partially_ordered(rare)

    def _subsets(self, most: int) -> Iterator[tuple[Shared, ...]]:
        for size in range(most + 1):
            yield from combinations(self._equal[:5], size)

    def _filters(self) -> Iterator[Option]:
        for equal in self._subsets(MAX_KEYS):
            if equal:
                yield self._option(equal)
            if len(equal) < MAX_KEYS:
                yield from (self._option((*equal, bound)) for bound in self._ranges)

    def _joined(self) -> Iterator[Option]:
        for size in (1, 2):
            for joins in combinations(self._joins, size):
                rows = {it.way.join.rows for it in joins if it.way.join is not None}
                if len(rows) != 1:
                    continue
                for equal in self._subsets(2):
                    yield self._option((*joins, *equal), looks=max(1.0, *rows))
                    if len(equal) < 2:
                        for bound in self._ranges:
                            yield self._option((*joins, *equal, bound), looks=max(1.0, *rows))

    def _searches(self) -> Iterator[Option]:
        for found in self._search:
            index = Index(found.way.method, found.way.keys, extension=found.way.extension)
            look = Look(found.share, looks=1.0, fraction=self._fraction(), is_search=True)
            yield self._sorted_after(Option((index,), look))

    def _searched_joins(self) -> Iterator[Option]:
        """For what another part of the statement says: ``FROM docs, to_tsquery($1) q WHERE words @@ q``."""
        for found in self._search_joins:
            rows = max(1.0, found.way.join.rows if found.way.join is not None else 1.0)
            index = Index(found.way.method, found.way.keys, extension=found.way.extension)
            look = Look(found.share, looks=rows, is_search=True)
            yield self._sorted_after(Option((index,), look, is_join=True))

    def _partial(self) -> Iterator[Option]:
        """An index of only those rows that fit a condition that no key serves, or that no key has to serve."""
        for rare in self._rare:
            for keyed in (*((it,) for it in (*self._equal[:2], *self._ranges[:2])), ()):
                ordered = self._order_keys(1) if self._may_walk else ()
                keys = keyed[0].way.keys if keyed else ordered or rare.way.keys
                share = rare.share * (keyed[0].share if keyed else 1.0)
                index = Index("btree", keys, predicate=tuple(bare(it) for it in rare.way.clauses))
                look = Look(
                    share,
                    fraction=self._fraction(),
                    is_covering=self._reading.needed <= index.columns,
                    entry_bytes=self._bytes(index),
                )
                yield self._sorted_after(Option((index,), look))

    def _partially_ordered(self, rare: Shared) -> Iterator[Option]:
        """The rare rows, kept in the wanted order."""
        order = self._reading.order
        for equal in ((), *((it,) for it in self._equal[:3] if _is_one(it))):
            walk = self._walk(equal, len(order.keys) if order else 1, self._share_wanted())
            index = replace(walk.indexes[0], predicate=tuple(bare(it) for it in rare.way.clauses))
            yield self._gamble(
                replace(walk, indexes=(index,), look=replace(walk.look, share=walk.look.share * rare.share))
            )

    @property
    def _is_ordered(self) -> bool:
        order = self._reading.order
        return order is not None and self._others is not None and self._may_walk and bool(self._order_keys(1))

    def _share_wanted(self) -> float:
        order = self._reading.order
        return 1.0 if order is None else min(1.0, order.limit / max(order.rows, 1.0))

    def _ordered(self) -> Iterator[Option]:
        single = [it for it in self._equal if _is_one(it)][:5]
        for size in range(MAX_KEYS):
            for equal in combinations(single, size):
                for count in self._lengths(equal, MAX_KEYS + 1 - size):
                    yield self._gamble(self._walk(equal, count, self._share_wanted()))

    def _lengths(self, equal: tuple[Shared, ...], most: int) -> Iterator[int]:
        """How many keys of the order: all of them, or those at the front that leave next to nothing to sort."""
        order = self._reading.order
        wanted = len(order.keys) if order else 0
        share = math.prod((it.share for it in equal), start=1.0)
        for count in range(1, min(wanted, most) + 1):
            is_enough = rows_together(self._table, self._order_keys(count), share) <= _FEW_TOGETHER
            if count == wanted or is_enough:
                yield count
            if is_enough:
                return

    def _gamble(self, option: Option) -> Option:
        """Where the walk passes rows that do not fit, those that do may come late: the oldest entries of a queue are done."""
        look = option.look
        if self._fitting >= look.share * _MANY_FIT:
            return option
        return replace(option, look=replace(look, fraction=min(1.0, look.fraction * _GAMBLE)), is_gamble=True)

    def _walk(self, equal: tuple[Shared, ...], count: int, fraction: float) -> Option:
        keys = self._order_keys(count)
        share = math.prod((it.share for it in equal), start=1.0)
        bounds = [it for it in self._ranges if it.way.keys[0].expression == keys[0].expression]
        share *= min((it.share for it in bounds), default=1.0)
        order = self._reading.order
        # Rows that are equal in the keys so far are sorted together before the first of them is given.
        together = rows_together(self._table, keys, share) if order and count < len(order.keys) else 1.0
        more = together / max(1.0, self._table.rows * share)
        index = Index("btree", (*_keys(equal), *keys))
        look = Look(
            share,
            fraction=min(1.0, fraction + more),
            is_ordered=True,
            correlation=self._correlation(index),
            is_covering=self._reading.needed <= index.columns,
            entry_bytes=self._bytes(index),
        )
        extra = (self._others or 0.0) * (order.limit if order else 0.0)
        return Option((index,), look, is_ordered=True, extra=extra, equals=len(equal))

    def _order_keys(self, count: int) -> tuple[Key, ...]:
        """The keys that walk in the wanted order; an order that is only turned round needs no mention."""
        order = self._reading.order
        if order is None or not are_of(order.keys, self._reading.alias):
            return ()
        keys = order.keys[:count]
        is_turned = all(it.is_descending for it in keys) and all(it.nulls_first for it in keys)
        return tuple(order_key(it, is_turned=is_turned) for it in keys)

    def _option(self, used: Sequence[Shared], looks: float = 1.0) -> Option:
        """A b-tree over the ways: values that join first, then equalities, lists of values, and the range."""
        equal = [it for it in used if it.way.kind == "equal"]
        equal.sort(key=lambda it: (it.way.join is None, it.way.values > 1, it.share))
        ranges = [it for it in used if it.way.kind == "range"]
        index = Index("btree", (*_keys(equal), *_keys(ranges)))
        look = Look(
            math.prod(it.share for it in used),
            values=math.prod(it.way.values for it in used),
            looks=looks,
            fraction=self._fraction() if looks == 1.0 else 1.0,
            correlation=self._correlation(index),
            is_covering=self._reading.needed <= index.columns,
            entry_bytes=self._bytes(index),
        )
        return self._sorted_after(
            Option((index,), look, is_join=looks > 1 or bool(used and used[0].way.join), equals=len(equal))
        )

    def _sorted_after(self, option: Option) -> Option:
        order = self._reading.order
        if order is None or not order.keys:
            return option
        share = min(self._fitting, option.look.share * option.look.looks)
        rows = max(1.0, self._table.rows * share)
        return replace(option, extra=option.extra + rows * _SORTED_ROW * math.log2(rows + 1) / 4)

    def _fraction(self) -> float:
        """Without an order, a LIMIT ends the search early."""
        order = self._reading.order
        if order is None or order.keys or len(order.aliases) > 1:
            return 1.0
        return min(1.0, order.limit / max(1.0, order.rows))

    def _correlation(self, index: Index) -> float:
        """Of the first key. Where most rows have one value, the number tells about these and not about the rare ones."""
        first = index.keys[0].expression
        column = self._table.columns.get(first.name) if isinstance(first, Column) else None
        if column is None or (column.distinct or 0.0) < _TELLING or max(column.common, default=0.0) > 0.5:
            return 0.0
        is_null_test = any(
            isinstance(it, IsTest) and it.what == "NULL" and bare(it.of) == first
            for it in self._reading.clauses
        )
        return 0.0 if is_null_test else column.correlation * (0.75 if len(index.keys) > 1 else 1.0)

    def _bytes(self, index: Index) -> float:
        return entry_bytes(self._table, index)


def _keys(ways: Sequence[Shared]) -> tuple[Key, ...]:
    found: dict[Expression, Key] = {}
    for it in ways:
        for key in it.way.keys:
            found.setdefault(key.expression, key)
    return tuple(found.values())


def _is_one(it: Shared) -> bool:
    """Whether rows found by it are in the order of the keys that follow."""
    return it.way.values == 1 and not it.way.is_null


def _sorted(ways: Iterable[Shared]) -> list[Shared]:
    return sorted(ways, key=lambda it: it.share)
