"""One set of indexes for many statements."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from app.core.errors import GatehouseError
from app.core.monitor._server import MonitorServer
from app.core.monitor.advice._advise import advise
from app.core.monitor.advice._indexes import Index
from app.core.monitor.advice._suggestions import Suggestion
from app.core.monitor.advice._ways import Key

MAX_STATEMENTS: Final = 20
_UNPROCESSABLE = 422


@dataclass(frozen=True, slots=True)
class Ran:
    """A statement that has run: ``calls`` times, for ``mean_ms`` each. ``text`` with ``$n`` for its values."""

    queryid: int
    text: str
    calls: int
    mean_ms: float

    @property
    def total_ms(self) -> float:
        """Of all calls."""
        return self.calls * self.mean_ms


@dataclass(frozen=True, slots=True)
class WorkloadIndex:
    """An index and the statements (queryids) that it helps. ``saved_ms``: of their time, if time falls as the planner's cost does: an upper
    bound to rank by, and no promise. ``write_bytes_per_day``: what maintaining it writes, None where the table's statistics do not tell.
    """

    suggestion: Suggestion
    statements: tuple[int, ...]
    saved_ms: float

    @property
    def write_bytes_per_day(self) -> float | None:
        """Bytes of index entries; each also dirties a page."""
        writes = self.suggestion.writes_per_day
        rows = max(1.0, self.suggestion.facts.rows)
        return None if writes is None else round(writes * self.suggestion.size_bytes / rows)


@dataclass(frozen=True, slots=True)
class WorkloadAdvice:
    """The indexes, those first that save most. ``skipped``: statements (queryid, why) that gave no answer; ``asked``: how many did."""

    indexes: tuple[WorkloadIndex, ...]
    skipped: tuple[tuple[int, str], ...]
    asked: int


async def advise_workload(
    server: MonitorServer, statements: Iterable[Ran], *, most: int = MAX_STATEMENTS
) -> WorkloadAdvice:
    """Advice for the ``most`` statements (20) that take most time in all, merged: an index that another begins with is not made twice.

    Each is planned on its own (some 60 ms), so this is no question for every request: ask now and then, and keep the answer.
    Statements that cannot be planned are skipped. Raises as ``MonitorServer.ask`` does when the server does not answer.
    """
    ranked = sorted(statements, key=lambda it: it.total_ms, reverse=True)[:most]
    found: list[WorkloadIndex] = []
    skipped: list[tuple[int, str]] = []
    for it in ranked:
        try:
            advice = await advise(server, it.text)
        except GatehouseError as error:
            if error.status != _UNPROCESSABLE:
                raise
            skipped.append((it.queryid, error.detail or error.title))
            continue
        found += [_of(it, one) for one in advice.suggestions]
    indexes = sorted(merged_indexes(found), key=lambda it: it.saved_ms, reverse=True)
    return WorkloadAdvice(tuple(indexes), tuple(skipped), len(ranked) - len(skipped))


def _of(ran: Ran, suggestion: Suggestion) -> WorkloadIndex:
    share = 1 - min(1.0, suggestion.cost_after / max(0.01, suggestion.cost_before))
    return WorkloadIndex(suggestion, (ran.queryid,), ran.total_ms * share)


def merged_indexes(found: Iterable[WorkloadIndex]) -> list[WorkloadIndex]:
    """Each index once, and none that another of them serves as well: the widest take the others in."""
    kept: list[WorkloadIndex] = []
    for one in sorted(found, key=lambda it: len(it.suggestion.index.keys), reverse=True):
        for position, other in enumerate(kept):
            both = _both(other.suggestion, one.suggestion)
            if both is not None:
                statements = tuple(dict.fromkeys((*other.statements, *one.statements)))
                kept[position] = WorkloadIndex(both, statements, other.saved_ms + one.saved_ms)
                break
        else:
            kept.append(one)
    return kept


def _both(wide: Suggestion, narrow: Suggestion) -> Suggestion | None:
    """``wide``, its equalities ordered so that it begins with what ``narrow`` needs; None if it cannot serve both."""
    first, second = wide.index, narrow.index
    is_alike = (
        wide.facts.oid == narrow.facts.oid
        and (first.method, first.predicate) == (second.method, second.predicate)
        and (not second.include or set(second.include) <= first.columns)
    )
    if not is_alike:
        return None
    keys = _led_by(first, wide.equals, second, narrow.equals)
    if keys is None:
        return None
    free = min(wide.equals, narrow.equals) if len(second.keys) < len(first.keys) else wide.equals
    return replace(wide, index=replace(first, keys=keys), equals=free)


def _led_by(wide: Index, equals: int, narrow: Index, free: int) -> tuple[Key, ...] | None:
    """The keys of ``wide`` with those of ``narrow`` in front, if only equalities have to change places for it."""
    count = len(narrow.keys)
    lead = narrow.keys
    if wide.method != "btree":
        return wide.keys if wide.keys == lead else None
    if count <= equals and set(lead) <= set(wide.keys[:equals]):
        return (*lead, *(key for key in wide.keys if key not in lead))
    same = set(lead[:free]) == set(wide.keys[:free]) and lead[free:] == wide.keys[free:count]
    return wide.keys if same and free <= equals else None
