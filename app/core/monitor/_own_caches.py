"""What this process's own caches did for callers."""

from dataclasses import dataclass
from typing import Final

from app.core.observability import CacheEvent, EventHub, PolicyEvent

_MOST_NAMES: Final = 500
_SHOWN: Final = frozenset({"hit", "wait", "stale"})
_ASKED: Final = frozenset({*_SHOWN, "miss", "bypass", "skipped"})


@dataclass(frozen=True, slots=True)
class OwnCache:
    """One cache in this process since it started: how often it was asked, and served without work for that caller (``served``: hit, waited
    for another's work, or the old value). ``kind``: values (``get_or_set_cache``, ``cached_query`` under the name ``query``) or answers (an
    endpoint's responses; asked are all requests that its gate let in). ``events`` are all outcomes by name.
    """

    name: str
    kind: str
    asked: int
    served: int
    events: dict[str, int]

    @property
    def hit_percent(self) -> float | None:
        """None: nobody asked."""
        return round(100.0 * self.served / self.asked, 2) if self.asked else None


class OwnCaches:
    """Counts the outcomes of the caches that report to ``hub`` from now on, of this process alone; at most 500 names.

    The sums over all processes are in the metrics ``gatehouse_cache_events_total`` and ``gatehouse_policy_decisions_total``.
    """

    def __init__(self, hub: EventHub) -> None:
        self._values: dict[str, dict[str, int]] = {}
        self._answers: dict[str, list[int]] = {}
        hub.subscribe(CacheEvent, self._value)
        hub.subscribe(PolicyEvent, self._answer)

    def _value(self, event: CacheEvent) -> None:
        events = self._values.get(event.cache)
        if events is None:
            if len(self._values) >= _MOST_NAMES:
                return
            events = self._values[event.cache] = {}
        events[event.kind] = events.get(event.kind, 0) + 1

    def _answer(self, event: PolicyEvent) -> None:
        """Runs for every request. A gate counts from its first hit on: it has a cache only then for sure."""
        verdict = event.verdict
        if verdict == "admitted":
            if (seen := self._answers.get(event.policy)) is not None:
                seen[1] += 1
        elif verdict == "hit":
            seen = self._answers.get(event.policy)
            if seen is None:
                if len(self._answers) >= _MOST_NAMES:
                    return
                # What the hit shows was made by a request before it.
                seen = self._answers[event.policy] = [0, 1]
            seen[0] += 1

    def read(self) -> tuple[OwnCache, ...]:
        """All that were used, the most asked first."""
        values = [
            OwnCache(name, "values", sum(events.get(it, 0) for it in _ASKED), sum(events.get(it, 0) for it in _SHOWN), dict(events))
            for name, events in self._values.items()
        ]  # fmt: skip
        answers = [
            OwnCache(name, "answers", hits + admitted, hits, {"hit": hits, "admitted": admitted})
            for name, (hits, admitted) in self._answers.items()
        ]
        return tuple(sorted((*values, *answers), key=lambda it: (-it.asked, it.kind, it.name)))
