"""One question in several slots of a Cluster: each slot decides its part in one step, then the parts are put together.

If one slot refuses, what the others took is given back; until then they have counted too much, never too little.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from app.core.policies._admission import Admission
from app.core.policies._ask import NOTHING, Ask, Verdict
from app.core.policies._keys import slot_of
from app.core.policies._plan import ATTEMPT, SHADOW, Plan
from app.core.policies._questions import Answer

# Whoever comes first decides, as in one script; attempt limits come before all of them.
_ORDER = (
    Verdict.UNPROVEN, Verdict.REVOKED,
    Verdict.REPLAY, Verdict.IN_FLIGHT, Verdict.MISMATCH, Verdict.UNKNOWN, Verdict.FRESH, Verdict.STALE, Verdict.WAIT, Verdict.OPEN,
    Verdict.NO_CREDIT, Verdict.LIMITED, Verdict.QUOTA, Verdict.BUSY, Verdict.HELD, Verdict.CLOCK, Verdict.COLD, Verdict.ADMITTED,
)  # fmt: skip
_NOT_CHARGED = frozenset({Verdict.COLD, Verdict.CLOCK, Verdict.UNPROVEN})


class Part(NamedTuple):
    """What one slot is asked. ``limits``, ``allowances`` and ``slots`` number it within the whole."""

    limits: tuple[int, ...]
    allowances: tuple[int, ...]
    slots: tuple[int, ...]
    ask: Ask


def share_a_slot(keys: Iterable[str]) -> bool:
    """Whether these keys can be used in one script on a Cluster."""
    return len({slot_of(key) for key in keys}) <= 1


def split(keys: Sequence[str], ask: Ask) -> list[Part]:
    """The parts of a question, one per slot. ``keys`` are the limits'. Tags are not looked at: their versions are read before."""
    names = dict.fromkeys(slot_of(key) for key in keys)
    for part in (ask.token, ask.claim, ask.lookup, *ask.allowances, *ask.slots, ask.hold):
        if part is not None:
            names[slot_of(part.key)] = None
    return [_part(name, keys, ask) for name in names or ("",)]


def _part(name: str, keys: Sequence[str], ask: Ask) -> Part:
    def is_here(key: str) -> bool:
        return slot_of(key) == name

    allowances = tuple([i for i, allowance in enumerate(ask.allowances) if is_here(allowance.key)])
    slots = tuple([i for i, slot in enumerate(ask.slots) if is_here(slot.key)])
    mine = Ask(
        ask.claim if ask.claim is not None and is_here(ask.claim.key) else None,
        ask.lookup if ask.lookup is not None and is_here(ask.lookup.key) else None,
        ask.circuit_open,
        tuple([ask.allowances[i] for i in allowances]),
        tuple([ask.slots[i] for i in slots]),
        ask.hold if ask.hold is not None and is_here(ask.hold.key) else None,
        token=ask.token if ask.token is not None and is_here(ask.token.key) else None,
    )
    limits = tuple([i for i, key in enumerate(keys) if is_here(key)])
    return Part(limits, allowances, slots, mine if any(mine) else NOTHING)


def merge(asked: Admission, parts: Sequence[Part], answers: Sequence[Admission]) -> Admission:
    """The whole admission out of its parts, in the order of ``asked``."""
    plan = asked.plan
    numbers = [0] * (4 * len(plan.limits))
    paid: set[int] = set()
    for part, answer in zip(parts, answers, strict=True):
        for at, i in enumerate(part.limits):
            numbers[4 * i : 4 * i + 4] = answer.numbers[4 * at : 4 * at + 4]
        if answer.verdict not in _NOT_CHARGED:
            paid.update(part.limits)
    refused = [i for i, c in enumerate(plan.counters) if not numbers[4 * i] and not c.flags & SHADOW]
    is_stopped = any(plan.counters[i].flags & ATTEMPT for i in refused)
    verdict = Verdict.LIMITED if is_stopped else _first(asked.ask, {a.verdict for a in answers})
    return asked._replace(
        allowed=verdict is Verdict.ADMITTED,
        cause=refused[0] + 1 if refused else 0,
        numbers=numbers,
        now_ms=answers[0].now_ms,
        answer=_answer(verdict, asked.ask, parts, answers) if asked.ask is not NOTHING else None,
        paid=frozenset(paid),
    )


def _first(ask: Ask, verdicts: set[Verdict]) -> Verdict:
    if Verdict.CLOCK in verdicts and ask.lookup is not None and ask.lookup.is_glance:
        # What an ``admit`` limit elsewhere says counts when all is asked: a stale answer does not need it.
        return Verdict.CLOCK
    return min(verdicts, key=_ORDER.index)


def _answer(verdict: Verdict, ask: Ask, parts: Sequence[Part], answers: Sequence[Admission]) -> Answer:
    quotas: list[tuple[bool, int]] = [(True, 0)] * len(ask.allowances)
    slots = [True] * len(ask.slots)
    merged = Answer(verdict)
    for part, admission in zip(parts, answers, strict=True):
        answer = admission.answer
        if answer is None:
            continue
        for i, quota in zip(part.allowances, answer.quotas, strict=False):
            quotas[i] = quota
        for i, passed in zip(part.slots, answer.slots, strict=False):
            slots[i] = passed
        merged = merged._replace(top_up_url=answer.top_up_url)
        if part.ask.claim is not None:
            merged = merged._replace(generation=answer.generation, left_ms=answer.left_ms)
        if part.ask.lookup is not None:
            is_leader = answer.is_leader and verdict is Verdict.ADMITTED
            merged = merged._replace(is_leader=is_leader, versions=answer.versions)
        if part.ask.hold is not None:
            merged = merged._replace(available=answer.available, credit=answer.credit)
        if answer.tail and (answer.verdict is verdict):
            merged = merged._replace(tail=answer.tail)
    return merged._replace(quotas=tuple(quotas), slots=tuple(slots))


def part_of(plan: Plan, part: Part) -> Plan:
    """The limits of one slot."""
    return plan.part(part.limits)
