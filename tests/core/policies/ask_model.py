"""ADMIT and SETTLE once more, in plain Python: what their scripts are compared with. Times in ms, amounts in credits."""

from dataclasses import dataclass, field

from app.core.policies import Verdict

MOST_ATTEMPTS, MOST_ADMITTED, ALLOWANCE, SLOTS = 40, 12, 9, 3
LEASE, SLOT_LEASE = 10_000, 7_000


@dataclass(frozen=True)
class Wish:
    """What one request asks for; 0 or an empty word leaves a part out."""

    key: str = ""
    fingerprint: str = "f"
    rerun: bool = False
    replay_cost: int = 1
    looks: bool = False
    must_compute: bool = False
    hit_cost: int = 1
    is_open: bool = False
    quota_cost: int = 0
    slots: int = 0
    amount: int = 0
    shadow: bool = False
    issued_ms: int = 0
    """When the caller's token was issued; 0: he has none."""
    session: str = "one"


@dataclass
class Record:
    fingerprint: str
    generation: int
    lease_until: int
    owner: int
    result: bytes | None = None


@dataclass
class Said:
    verdict: Verdict
    generation: int = 0
    is_leader: bool = False
    tail: bytes = b""
    shadowed: tuple[str, ...] = ()
    took_quota: bool = False
    took_slot: bool = False
    took_hold: bool = False


Entry = tuple[int, int, bytes]


@dataclass
class Model:
    now: int = 0
    attempts: int = 0
    admitted: int = 0
    records: dict[str, Record] = field(default_factory=dict)
    entry: Entry | None = None
    leader: int | None = None
    used: int = 0
    slots: dict[int, int] = field(default_factory=dict)
    balance: int | None = None
    version: int = 0
    holds: dict[int, int] = field(default_factory=dict)
    tokens_since: int = 0
    ended: set[str] = field(default_factory=set)

    @property
    def held(self) -> int:
        return sum(self.holds.values())

    def admit(self, rid: int, wish: Wish) -> Said:
        said, is_charged = self._decide(rid, wish)
        if said.verdict in (Verdict.COLD, Verdict.CLOCK):
            return said
        if is_charged and self.attempts < MOST_ATTEMPTS:
            self.attempts += 1
        if said.verdict is Verdict.ADMITTED:
            self._take(rid, wish, said)
        return said

    def _decide(self, rid: int, wish: Wish) -> tuple[Said, bool]:
        if self.attempts >= MOST_ATTEMPTS:
            return Said(Verdict.LIMITED), True
        if wish.issued_ms and (wish.issued_ms < self.tokens_since or wish.session in self.ended):
            return Said(Verdict.REVOKED), True
        generation = 0
        if wish.key:
            verdict, generation, tail = self._claim(wish)
            if verdict is not Verdict.ADMITTED:
                return Said(verdict, tail=tail), not (verdict is Verdict.REPLAY and wish.replay_cost == 0)
        is_leader, tail = False, b""
        if wish.looks:
            verdict, is_leader, tail = self._look(wish)
            if verdict is not Verdict.ADMITTED:
                hit = verdict in (Verdict.FRESH, Verdict.STALE)
                return Said(verdict, tail=tail), not (hit and wish.hit_cost == 0)
        if wish.is_open:
            return Said(Verdict.OPEN), True
        said = self._resources(wish)
        if said.verdict is Verdict.ADMITTED:
            said.generation, said.is_leader, said.tail = generation, is_leader, tail
        return said, True

    def _claim(self, wish: Wish) -> tuple[Verdict, int, bytes]:
        record = self.records.get(wish.key)
        if record is None:
            return Verdict.ADMITTED, 1, b""
        if record.fingerprint != wish.fingerprint:
            return Verdict.MISMATCH, 0, b""
        if record.result is not None:
            return Verdict.REPLAY, 0, record.result
        if record.lease_until > self.now:
            return Verdict.IN_FLIGHT, 0, b""
        return (Verdict.ADMITTED, record.generation + 1, b"") if wish.rerun else (Verdict.UNKNOWN, 0, b"")

    def _look(self, wish: Wish) -> tuple[Verdict, bool, bytes]:
        is_fresh, tail = False, b""
        if self.entry is not None and self.now < self.entry[1]:
            is_fresh, tail = self.now < self.entry[0], self.entry[2]
        if is_fresh and not wish.must_compute:
            return Verdict.FRESH, False, tail
        if wish.is_open:
            return (Verdict.STALE if tail else Verdict.OPEN), False, tail
        if self.leader is None:
            return Verdict.ADMITTED, True, tail
        if wish.must_compute:
            return Verdict.ADMITTED, False, tail
        return (Verdict.STALE if tail else Verdict.WAIT), False, tail

    def _resources(self, wish: Wish) -> Said:
        quota = not wish.quota_cost or self.used + wish.quota_cost <= ALLOWANCE
        room = not wish.slots or sum(end > self.now for end in self.slots.values()) < wish.slots
        credit, is_cold = "", False
        if wish.amount and self.balance is None:
            is_cold = True
        elif wish.amount and self.balance is not None and self.balance - self.held < wish.amount:
            credit = "held" if self.balance >= wish.amount else "short"
        refuses = not wish.shadow
        order = (
            (Verdict.NO_CREDIT, credit == "short" and refuses),
            (Verdict.LIMITED, self.admitted >= MOST_ADMITTED),
            (Verdict.QUOTA, not quota and refuses),
            (Verdict.BUSY, not room and refuses),
            (Verdict.HELD, bool(credit) and refuses),
            (Verdict.COLD, is_cold),
        )
        for verdict, is_so in order:
            if is_so:
                return Said(verdict)
        named = (("day", not quota), ("at_once", not room), ("credits", bool(credit)))
        shadowed = tuple(name for name, refused in named if refused)
        return Said(
            Verdict.ADMITTED,
            shadowed=shadowed,
            took_quota=bool(wish.quota_cost) and quota,
            took_slot=bool(wish.slots) and room,
            took_hold=bool(wish.amount) and not credit and refuses,
        )

    def _take(self, rid: int, wish: Wish, said: Said) -> None:
        self.admitted += 1
        if wish.key:
            self.records[wish.key] = Record(wish.fingerprint, said.generation, self.now + LEASE, rid)
        if said.is_leader:
            self.leader = rid
        if said.took_quota:
            self.used += wish.quota_cost
        if said.took_slot:
            self.slots[rid] = self.now + SLOT_LEASE
        if said.took_hold:
            self.holds[rid] = wish.amount

    def end(
        self,
        rid: int,
        wish: Wish,
        said: Said,
        *,
        result: bytes | None,
        balance: int | None,
        kept: Entry | None,
    ) -> bool:
        """SETTLE; whether it was fenced."""
        is_fenced = False
        if said.is_leader and self.leader == rid:
            self.entry, self.leader = kept or self.entry, None
        if wish.key:
            is_fenced = self._end_claim(rid, wish, said, result)
        self.slots.pop(rid, None)
        if self.balance is None:
            self.holds.pop(rid, None)
        elif said.took_hold:
            self.holds.pop(rid, None)
            if balance is not None:
                self.balance, self.version = balance, self.version + 1
        return is_fenced

    def _end_claim(self, rid: int, wish: Wish, said: Said, result: bytes | None) -> bool:
        record = self.records.get(wish.key)
        if record is None:
            if result is not None:
                self.records[wish.key] = Record(wish.fingerprint, said.generation, 0, rid, result)
            return False
        if record.result is not None or record.owner != rid:
            return result is None or record.result is None or record.generation != said.generation
        if result is None:
            del self.records[wish.key]
        else:
            record.result = result
        return False

    def abort(self, rid: int, wish: Wish, said: Said, *, keep_claim: bool, is_repeated: bool) -> None:
        if wish.key and not keep_claim:
            self._end_claim(rid, wish, said, None)
        self.slots.pop(rid, None)
        self.holds.pop(rid, None)
        if said.is_leader and self.leader == rid:
            self.leader = None
        if not is_repeated:
            self.admitted = max(self.admitted - 1, 0)
            self.used = max(self.used - (wish.quota_cost if said.took_quota else 0), 0)
