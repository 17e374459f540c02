"""Which of the indexes in question, if any, is worth having for one reading."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from app.core.monitor.advice._charges import Charges
from app.core.monitor.advice._cost import CostSettings
from app.core.monitor.advice._coverage import covering
from app.core.monitor.advice._expressions import Column
from app.core.monitor.advice._options import Option
from app.core.monitor.advice._readings import Reading

MIN_ROWS = 1_000
MIN_PAGES = 10
MOST_ROWS = 0.05
MOST_COUNTED = 0.10
MIN_COST = 100.0
USED = 1.2
GAIN = 2.0
SAVING_PAGES = 12.5
WIDER = 2.0
_MANY = 250.0
_COVERING = 3.0
_MAX_CARRIED = 2
_CARRIED_BYTES = 16
_VISIBLE = 0.8


@dataclass(frozen=True, slots=True)
class Chosen:
    """An option that pays. Costs in the planner's unit, of this part of the statement: ``before`` and ``after``; ``warm``: with pages
    in memory.
    """

    reading: Reading
    option: Option
    before: float
    after: float
    warm: float

    @property
    def saved(self) -> float:
        return max(0.0, self.before - self.warm)


@dataclass(frozen=True, slots=True)
class Declined:
    """Why there is none."""

    reading: Reading
    reason: str


class Choice:
    """Chooses by the planner's own cost, under the server's settings and under those of a warm cache.

    The planner has to use the index (a fifth cheaper under its own settings), and it has to halve the work when pages are in memory. A
    wider index is taken only if it halves the cost again. What finds more than a twentieth of a table is left alone.
    """

    def __init__(self, settings: CostSettings, charges: Charges) -> None:
        self._settings = settings
        self._charges = charges

    def too_small(self, reading: Reading) -> Declined | None:
        """Told before anything is asked about it."""
        table = reading.table
        if table.rows >= MIN_ROWS and table.pages >= MIN_PAGES:
            return None
        return Declined(reading, f"{table.title} is so small that reading all of it is the fastest way")

    def of(self, reading: Reading, options: Iterable[Option], loops: float) -> Chosen | Declined:
        """The option that pays, or why none does."""
        table = reading.table
        possible = list(options)
        if not possible:
            return Declined(reading, f"no condition on {table.title} is one that an index serves")
        allowed = [it for it in possible if it.is_ordered or it.is_join or it.look.share <= MOST_ROWS]
        if not allowed and reading.is_aggregated:
            allowed = self._covering_much(reading, possible)
        if not allowed:
            return Declined(reading, f"the conditions on {table.title} find too many of its rows")
        best = self._carrying(reading, self._narrowest(reading, allowed), loops)
        return self._judged(reading, best, loops)

    def _covering_much(self, reading: Reading, options: list[Option]) -> list[Option]:
        """What is only counted or summed can be read from an index alone, so more rows may be found."""
        some = [it for it in options if it.look.share <= MOST_COUNTED]
        wider = [it if it.look.is_covering else _wider(reading, it) for it in some]
        return [it for it in wider if it is not None]

    def _cost(self, reading: Reading, option: Option, *, warm: bool = False) -> float:
        return option.cost(reading.table, self._settings.warm if warm else self._settings)

    def _narrowest(self, reading: Reading, options: list[Option]) -> Option:
        """From the narrowest up: a wider one has to halve the cost, and to save pages worth mentioning."""
        widths = sorted({it.width for it in options})
        best: Option | None = None
        for width in widths:
            same = [it for it in options if it.width == width]
            candidate = min(same, key=lambda it: self._cost(reading, it))
            if best is None or self._pays_over(reading, candidate, best):
                best = candidate
        return best if best is not None else options[0]

    def _pays_over(self, reading: Reading, wider: Option, narrower: Option) -> bool:
        new, old = self._cost(reading, wider), self._cost(reading, narrower)
        if narrower.is_gamble and not wider.is_gamble:
            return new <= old
        return new * WIDER <= old and old - new >= SAVING_PAGES * self._settings.random_page

    def _carrying(self, reading: Reading, option: Option, loops: float) -> Option:
        """The same with the other columns that are needed carried along, if so many rows are visited that it pays."""
        wider = _wider(reading, option) if reading.is_aggregated and not option.look.is_covering else None
        if wider is None:
            return option
        old, new = (
            self._cost(reading, option, warm=True) * loops,
            self._cost(reading, wider, warm=True) * loops,
        )
        return wider if old >= _MANY and new * _COVERING <= old else option

    def _before(self, reading: Reading, option: Option) -> float:
        if option.is_ordered and reading.order is not None:
            return self._charges.regions.get(reading.order.aliases, self._charges.total)
        return self._charges.by_alias.get(reading.alias, 0.0)

    def _judged(self, reading: Reading, option: Option, loops: float) -> Chosen | Declined:
        table = reading.table
        covers = [covering(option, it, table, reading.clauses) for it in option.indexes]
        if all(covers):
            names = ", ".join(sorted({it.name for it in covers if it is not None}))
            bad = [it for it in covers if it is not None and not it.is_valid]
            if bad:
                return Declined(
                    reading,
                    f"the index {bad[0].name} would serve, but it is invalid: REINDEX CONCURRENTLY it",
                )
            return Declined(reading, f"{table.title} has what is needed: {names}")
        before = self._before(reading, option)
        after = self._cost(reading, option) * loops
        warm = self._cost(reading, option, warm=True) * loops
        is_all_read = self._charges.scans.get(reading.alias, set()) <= {"Seq Scan"}
        gain = before / max(0.01, warm if is_all_read else after)
        if after * USED > before or gain < GAIN:
            used = sorted(self._charges.indexes.get(reading.alias, ()))
            if used:
                return Declined(
                    reading,
                    f"{table.title} is read by {', '.join(used)}, and no other index would be much better",
                )
            return Declined(
                reading, f"the conditions on {table.title} find so many rows that an index would not pay"
            )
        if before < MIN_COST or before - after < SAVING_PAGES * self._settings.random_page:
            return Declined(reading, f"reading {table.title} costs too little for an index to matter")
        missing = tuple(it for it, existing in zip(option.indexes, covers, strict=True) if existing is None)
        return Chosen(reading, replace(option, indexes=missing), before, after, warm)


def _wider(reading: Reading, option: Option) -> Option | None:
    """The same with the few other columns that are needed carried along; None where that does not spare the table."""
    index = option.indexes[0]
    if (
        len(option.indexes) != 1
        or index.method != "btree"
        or index.predicate
        or reading.table.visible < _VISIBLE
    ):
        return None
    extra = sorted(reading.needed - index.columns)
    columns = reading.table.columns
    is_narrow = all(name in columns and columns[name].width <= _CARRIED_BYTES for name in extra)
    if (
        not is_narrow
        or len(extra) > _MAX_CARRIED
        or not all(isinstance(key.expression, Column) for key in index.keys)
    ):
        return None
    size = option.look.entry_bytes + sum(columns[it].width for it in extra)
    return replace(
        option,
        indexes=(replace(index, include=tuple(extra)),),
        look=replace(option.look, is_covering=True, entry_bytes=size),
    )
