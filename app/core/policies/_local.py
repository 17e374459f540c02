"""The same counting as ``lua/admit.lua``, in this process: the substitute while Valkey is down, and the model its tests compare with."""

from collections import OrderedDict
from collections.abc import Sequence
from math import floor
from typing import NamedTuple

from app.core.policies._plan import Counter

State = int | tuple[int, int, int]


class Decision(NamedTuple):
    """One limit's view. ``charged`` and ``untouched`` are (remaining, reset_us) with and without this request's cost.

    ``clamped`` replaces a state from the future even when nothing is charged: the clock went back, or the limit was larger.
    """

    passes: bool
    retry_us: int
    state: State
    charged: tuple[int, int]
    untouched: tuple[int, int]
    clamped: State | None = None


def decide(counter: Counter, stored: State | None, now: int, cost: int) -> Decision:
    """What a limit says at ``now`` (microseconds). Pure."""
    decision = _ALGORITHMS[counter.kind](counter, stored, now, cost)
    return decision._replace(passes=True, retry_us=0) if cost == 0 else decision


def _gcra(counter: Counter, stored: State | None, now: int, cost: int) -> Decision:
    a, b = counter.a, counter.b
    known = stored if isinstance(stored, int) else now
    arrival = min(max(known, now), now + b)
    after = arrival + cost * a
    passes = after - now <= b
    retry = 0 if passes else (-1 if cost * a > b else after - b - now)
    charged, untouched = ((b - (after - now)) // a, after - now), ((b - (arrival - now)) // a, arrival - now)
    return Decision(passes, retry, after, charged, untouched, arrival if known > now + b else None)


def _debounce(counter: Counter, stored: State | None, now: int, cost: int) -> Decision:
    quiet = counter.a
    last = min(stored, now) if isinstance(stored, int) else None
    waiting = last is not None and now - last < quiet
    passes = cost == 0 or not waiting
    left = max(last + quiet - now, 0) if last is not None else 0
    return Decision(passes, 0 if passes else quiet, now, (0, quiet), (0 if waiting else 1, left))


def _windows(counter: Counter, stored: State | None, now: int) -> tuple[int, int, int, State | None]:
    window, count, previous, clamped = now // counter.a, 0, 0, None
    if isinstance(stored, tuple):
        if stored[0] >= window:
            _, count, previous = stored
            clamped = (window, count, previous) if stored[0] > window else None
        elif stored[0] == window - 1:
            previous = stored[1]
    return window, count, previous, clamped


def _fixed(counter: Counter, stored: State | None, now: int, cost: int) -> Decision:
    quota = counter.b
    window, count, previous, clamped = _windows(counter, stored, now)
    left = (window + 1) * counter.a - now
    passes = count + cost <= quota
    retry = 0 if passes else (-1 if cost > quota else left)
    return Decision(
        passes,
        retry,
        (window, count + cost, previous),
        (quota - count - cost, left),
        (quota - count, left),
        clamped,
    )


def _sliding(counter: Counter, stored: State | None, now: int, cost: int) -> Decision:
    a, quota = counter.a, counter.b
    window, count, previous, clamped = _windows(counter, stored, now)
    left = (window + 1) * a - now
    passes = previous * left + (count + cost) * a <= quota * a
    room = quota - (previous * left / a + count)
    retry = 0 if passes else _sliding_retry(counter, count, previous, left, cost)
    charged, untouched = (floor(room - cost), left), (max(floor(room), 0), left)
    return Decision(passes, retry, (window, count + cost, previous), charged, untouched, clamped)


def _sliding_retry(counter: Counter, count: int, previous: int, left: int, cost: int) -> int:
    a, quota = counter.a, counter.b
    if cost > quota:
        return -1
    if count + cost <= quota:
        return -(-(left * previous - (quota - cost - count) * a) // previous)
    return -(-((left + a) * count - (quota - cost) * a) // count)


_ALGORITHMS = {"g": _gcra, "d": _debounce, "f": _fixed, "s": _sliding}


class LocalCounters:
    """Buckets in this process, at most ``capacity`` of them; the longest unused one is forgotten first.

    Not for normal operation: every process counts for itself, so a limit is divided among them beforehand.
    """

    def __init__(self, capacity: int = 50_000) -> None:
        self._states: OrderedDict[str, State] = OrderedDict()
        self._capacity = capacity

    def admit(
        self,
        keys: Sequence[str],
        counters: Sequence[Counter],
        costs: Sequence[int],
        now: int,
        *,
        others_agree: bool = True,
    ) -> list[int]:
        """Decide and charge; returns the script's numbers: verdict, cause, now_ms, then (ok, remaining, reset, retry) per limit.

        others_agree: False if something else refuses this request, so that only limits on attempts are charged.
        """
        decisions = [
            decide(counter, self._states.get(key), now, cost)
            for key, counter, cost in zip(keys, counters, costs, strict=True)
        ]
        refused = [
            i
            for i, (d, c) in enumerate(zip(decisions, counters, strict=True), 1)
            if not d.passes and c.flags < 2
        ]
        numbers = [1 if refused else 0, refused[0] if refused else 0, now // 1000]
        for key, counter, cost, decision in zip(keys, counters, costs, decisions, strict=True):
            take = decision.passes and ((others_agree and not refused) or counter.flags % 2 == 1)
            if cost > 0 and (take or counter.kind == "d"):
                self._store(key, decision.state)
            elif cost > 0 and decision.clamped is not None:
                self._store(key, decision.clamped)
            remaining, reset = decision.charged if take else decision.untouched
            numbers += (int(decision.passes), remaining, reset, decision.retry_us)
        return numbers

    def _store(self, key: str, state: State) -> None:
        self._states[key] = state
        self._states.move_to_end(key)
        if len(self._states) > self._capacity:
            self._states.popitem(last=False)
