"""Slots and quotas in this process, for the time that the store does not answer."""

from collections import Counter, OrderedDict
from collections.abc import Sequence

from app.core.policies._ask import Allowance, Ask, Slot, Verdict
from app.core.policies._questions import Answer


class LocalAsk:
    """What of an ``Ask`` can be decided without the store; each process grants its part of ``replicas``.

    Quotas go on from what was left when the store last answered, for at most ``capacity`` of them. Claims, holds and cached answers are
    not here: they are refused or done without.
    """

    def __init__(self, replicas: int, *, capacity: int = 10_000) -> None:
        self._replicas = replicas
        self._capacity = capacity
        self._left: OrderedDict[str, int] = OrderedDict()
        self._shares: dict[str, int] = {}
        self._in_flight: Counter[str] = Counter()
        self._unended: set[str] = set()

    def remember(self, allowances: Sequence[Allowance], remaining: Sequence[tuple[bool, int]]) -> None:
        """Note what the store said is left."""
        self._shares.clear()
        for allowance, (_, left) in zip(allowances, remaining, strict=False):
            self._left[allowance.key] = left
            self._left.move_to_end(allowance.key)
        while len(self._left) > self._capacity:
            self._left.popitem(last=False)

    def decide(self, ask: Ask) -> Answer:
        """Who would be refused. Takes nothing."""
        quotas = tuple([self._allows(allowance) for allowance in ask.allowances])
        slots = tuple([self._has_room(slot) for slot in ask.slots])
        verdict = Verdict.ADMITTED
        if ask.circuit_open:
            verdict = Verdict.OPEN
        elif any(not passed and not a.shadow for a, (passed, _) in zip(ask.allowances, quotas, strict=True)):
            verdict = Verdict.QUOTA
        elif any(not passed and not s.shadow for s, passed in zip(ask.slots, slots, strict=True)):
            verdict = Verdict.BUSY
        return Answer(verdict, quotas=quotas, slots=slots)

    def take(self, rid: str, ask: Ask, answer: Answer) -> tuple[str, ...]:
        """Take what passed, for the request ``rid``; the keys of the slots, which ``free`` wants back."""
        for allowance, (passed, left) in zip(ask.allowances, answer.quotas, strict=True):
            if passed and allowance.on_store_down == "local":
                self._shares[allowance.key] = left - allowance.cost
                if len(self._shares) > self._capacity:
                    del self._shares[next(iter(self._shares))]
        taken = tuple([slot.key for slot, passed in zip(ask.slots, answer.slots, strict=True) if passed])
        self._in_flight.update(taken)
        self._unended.add(rid)
        return taken

    def free(self, rid: str, taken: Sequence[str]) -> bool:
        """Give slots back; False if this request did so before."""
        if rid not in self._unended:
            return False
        self._unended.remove(rid)
        for key in taken:
            self._in_flight[key] -= 1
            if self._in_flight[key] <= 0:
                del self._in_flight[key]
        return True

    def give_back(self, ask: Ask, answer: Answer) -> None:
        """Give back what quotas took of a request that failed."""
        for allowance, (passed, _) in zip(ask.allowances, answer.quotas, strict=False):
            if passed and allowance.key in self._shares:
                self._shares[allowance.key] += allowance.cost

    def _allows(self, allowance: Allowance) -> tuple[bool, int]:
        if allowance.on_store_down == "open" or allowance.cost == 0:
            return True, allowance.limit
        left = self._shares.get(allowance.key)
        if left is None:
            left = self._share(self._left.get(allowance.key, allowance.limit))
        return allowance.cost <= left, left

    def _share(self, whole: int) -> int:
        return max(whole // self._replicas, 1 if whole > 0 else 0)

    def _has_room(self, slot: Slot) -> bool:
        return slot.on_store_down == "open" or self._in_flight[slot.key] < self._share(slot.most)
