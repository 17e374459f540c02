"""What statements cost between two looks at counters that only the server resets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from app.core.monitor._statement_use import StatementUse
from app.core.monitor._statements import StatementKey, StatementRow, StatementSnapshot


@dataclass(frozen=True, slots=True)
class StatementDeltas:
    """What ran between two snapshots; statements that did not run are absent.

    restarted: entries that began anew, whose texts may be others than before. is_complete: False when an entry of
    before was thrown away or reset meanwhile, so that what it counted last is lost.
    """

    since: datetime
    until: datetime
    uses: Mapping[StatementKey, StatementUse]
    restarted: frozenset[StatementKey]
    is_complete: bool

    @property
    def total(self) -> StatementUse:
        """All statements together."""
        return total_use(self.uses.values())


def total_use(uses: Iterable[StatementUse]) -> StatementUse:
    """All of them together."""
    total = StatementUse()
    for use in uses:
        total += use
    return total


def statement_deltas(before: StatementSnapshot, after: StatementSnapshot) -> StatementDeltas:
    """What ran between the two.

    An entry that is new, or whose counters began anew (a counter went back, ``since`` is another, the server's statistics were reset),
    counts with all that it has: it was made after ``before``. What an entry counted between ``before`` and its end is lost, at most one
    interval. Before PostgreSQL 17 an entry that was reset alone and has overtaken its old counters since is not recognised.
    """
    known: Mapping[StatementKey, StatementRow] = (
        before.rows if after.stats_reset == before.stats_reset else {}
    )
    uses: dict[StatementKey, StatementUse] = {}
    restarted: set[StatementKey] = set()
    for key, row in after.rows.items():
        former = known.get(key)
        if row == former:  # as most are: there may be thousands
            continue
        if former is None or row.since != former.since or not row.use.continues(former.use):
            restarted.add(key)
            use = row.use
        else:
            use = row.use - former.use
        if use.calls or use.plans:
            uses[key] = use
    goes_on = before.rows.keys() <= (after.rows.keys() - restarted)
    return StatementDeltas(
        before.at,
        after.at,
        uses,
        frozenset(restarted),
        is_complete=goes_on and after.dealloc == before.dealloc,
    )
