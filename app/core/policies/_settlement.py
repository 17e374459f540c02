"""What is sent to the store at the end of a request: SETTLE, ABORT, EXTEND, out of its admission."""

from collections.abc import Iterable
from typing import NamedTuple

from app.core.policies._admission import Admission
from app.core.policies._keys import slot_of
from app.core.policies._plan import ATTEMPT
from app.core.policies._providers import Balance
from app.core.policies._questions import lease_key
from app.core.valkey import Put, Script

SETTLE = Script.load("app.core.policies", "lua/settle.lua")
SETTLE_AND_KEEP = Script("settle_and_keep", SETTLE.source.replace("#!lua flags=allow-oom", "#!lua", 1))
"""The same for calls that store an entry of the cache: a server without memory refuses them, and SETTLE is sent instead."""
EXTEND = Script.load("app.core.policies", "lua/extend.lua")
_NOTHING_GIVEN_BACK = b"0"
RECEIPT_MS = b"10000"
"""How long an answer is kept under its call's id: longer than any retry of the same call could take."""


class Call:
    """One script call, put together part by part: a key and what the script is told about it.

    ``rid`` names the receipt, where there is one; ``head`` are the arguments before the parts.
    """

    __slots__ = ("_first", "_head", "_parts", "_rid", "script")

    def __init__(self, *head: bytes, script: Script = SETTLE, rid: str = "", first: str = "") -> None:
        self.script = script
        self._head = head
        self._rid = rid
        self._first = first
        self._parts: list[tuple[str, tuple[bytes, ...]]] = []

    def add(self, key: str, *arguments: bytes) -> None:
        """One more part."""
        self._parts.append((key, arguments))

    def keep(self, put: Put) -> None:
        """Store an entry of the cache; the part that gives up its lease must follow."""
        self.script = SETTLE_AND_KEEP
        self._parts.append((put.key, (b"p", *put.arguments)))

    def without_entry(self) -> "Call":
        """The same, storing nothing."""
        call = Call(*self._head, rid=self._rid, first=self._first)
        call._parts = [part for part in self._parts if part[1][0] != b"p"]
        return call

    def __bool__(self) -> bool:
        return bool(self._parts)

    def requests(self, *, clustered: bool) -> list[tuple[list[str], list[bytes]]]:
        """Keys and arguments of the calls that this takes: one, and on a Cluster one per slot."""
        if not clustered:
            return [self._request(self._first, self._parts)]
        slots: dict[str, list[tuple[str, tuple[bytes, ...]]]] = {}
        for part in self._parts:
            slots.setdefault(slot_of(part[0]), []).append(part)
        return [self._request(parts[0][0], parts) for parts in slots.values()]

    def _request(
        self, first: str, parts: Iterable[tuple[str, tuple[bytes, ...]]]
    ) -> tuple[list[str], list[bytes]]:
        keys = [receipt_key(first, self._rid)] if self._rid else []
        arguments = [*self._head]
        for key, more in parts:
            keys.append(key)
            arguments += more
        return keys, arguments


class Settled(NamedTuple):
    """How a settlement ended.

    ``is_fenced``: the claim belongs to somebody else, the result was not kept. ``is_late``: a slot's or hold's lease was over before.
    ``is_lost``: the store did not answer; leases and the sweeper end what was taken.
    """

    is_fenced: bool = False
    is_late: bool = False
    is_lost: bool = False

    @property
    def outcome(self) -> str:
        """The same in one word, the gravest: failed, fenced, late or settled."""
        if self.is_lost:
            return "failed"
        if self.is_fenced:
            return "fenced"
        return "late" if self.is_late else "settled"


NOTHING_OWED = Settled()


def settle_call(
    admission: Admission, result: bytes | None, balance: Balance | None, entry: Put | None, *, keep_hold: bool
) -> Call | None:
    """The claim becomes ``result`` (None: it is given up), slots and hold are freed, the answer that was computed for the cache is kept
    (None: somebody else may compute it). keep_hold: the hold stays until its debit is in the ledger. None when nothing was taken.
    """
    if not admission.is_owed_settlement:
        return None
    call = _begin(admission, _NOTHING_GIVEN_BACK)
    _end_claim(call, admission, result)
    _free(call, admission, balance, keep_hold=keep_hold)
    if admission.is_leader and admission.ask.lookup is not None:
        if entry is not None:
            call.keep(entry)
        call.add(lease_key(admission.ask.lookup), b"e")
    return call or None


def abort_call(
    admission: Admission, balance: Balance | None, *, keep_claim: bool, keep_hold: bool
) -> Call | None:
    """Everything is given back but what attempt limits took. None when there is nothing to give back."""
    if not admission.allowed or not admission.rid:
        return None
    call = _begin(admission, RECEIPT_MS)
    if not keep_claim:
        _end_claim(call, admission, None)
    _free(call, admission, balance, keep_hold=keep_hold)
    _give_back_quotas(call, admission)
    _give_back_limits(call, admission)
    if admission.is_leader and admission.ask.lookup is not None:
        call.add(lease_key(admission.ask.lookup), b"e")
    return call or None


def price_call(admission: Admission) -> Call | None:
    """What is paid with alone: the hold, quotas and ``admit`` limits; slots and leases stay. None when there is nothing to give back."""
    if not admission.allowed or not admission.rid:
        return None
    call = _begin(admission, RECEIPT_MS)
    hold = admission.ask.price
    if hold is not None and _is_held(admission):
        call.add(hold.key, b"h", b"", b"")
    _give_back_quotas(call, admission)
    _give_back_limits(call, admission)
    return call or None


def unknown_call(admission: Admission) -> Call:
    """After an ADMIT whose answer never came: take back whatever it took, or will take when it runs late."""
    call = _begin(admission, RECEIPT_MS)
    _end_claim(call, admission, None)
    _free(call, admission, None, keep_hold=False)
    if admission.ask.lookup is not None:
        call.add(lease_key(admission.ask.lookup), b"e")
    return call


def extend_call(admission: Admission, lease_ms: int, until_ms: int) -> Call | None:
    """All leases of the request. None when it has none."""
    if not admission.allowed:
        return None
    call = Call(admission.rid.encode(), b"%d" % lease_ms, b"%d" % until_ms, script=EXTEND)
    ask = admission.ask
    if ask.claim is not None:
        call.add(ask.claim.key, b"i")
    for key in _slots_taken(admission):
        call.add(key, b"s")
    if ask.price is not None and _is_held(admission):
        call.add(ask.price.key, b"h")
    if ask.lookup is not None and admission.is_leader:
        call.add(lease_key(ask.lookup), b"e")
    return call or None


def receipt_key(any_key: str, rid: str) -> str:
    """Where the answer to a call is kept: in the slot of one of its keys."""
    return f"{slot_of(any_key)}:v1:r:{rid}"


def _begin(admission: Admission, mark: bytes) -> Call:
    return Call(admission.rid.encode(), mark, rid=admission.rid, first=first_key(admission))


def first_key(admission: Admission) -> str:
    """The key whose slot the receipt is in."""
    if admission.keys:
        return admission.keys[0]
    ask = admission.ask
    for part in (ask.token, ask.claim, ask.lookup, *ask.allowances, *ask.slots, ask.hold):
        if part is not None:
            return part.key
    return f"{{r:{admission.rid}}}"


def _end_claim(call: Call, admission: Admission, result: bytes | None) -> None:
    claim = admission.ask.claim
    if claim is None:
        return
    call.add(
        claim.key,
        b"i",
        claim.fingerprint.encode(),
        b"%d" % admission.generation,
        b"%d" % claim.retention_ms,
        b"0" if result is None else b"1",
        result or b"",
    )


def _free(call: Call, admission: Admission, balance: Balance | None, *, keep_hold: bool) -> None:
    for key in _slots_taken(admission):
        call.add(key, b"s")
    hold = admission.ask.price
    if hold is None or keep_hold or not _is_held(admission):
        return
    newer = (b"%d" % balance.micro, b"%d" % balance.version) if balance is not None else (b"", b"")
    call.add(hold.key, b"h", *newer)


def _slots_taken(admission: Admission) -> list[str]:
    answer = admission.answer
    slots = admission.ask.slots
    if answer is None:
        return [slot.key for slot in slots]
    return [slot.key for slot, passed in zip(slots, answer.slots, strict=True) if passed]


def _is_held(admission: Admission) -> bool:
    return admission.answer is None or admission.answer.credit == 0


def _give_back_quotas(call: Call, admission: Admission) -> None:
    if admission.answer is None:
        return
    for allowance, (passed, _) in zip(admission.ask.allowances, admission.answer.quotas, strict=True):
        if passed and allowance.cost > 0:
            call.add(allowance.key, b"q", b"%d" % allowance.cost)


def _give_back_limits(call: Call, admission: Admission) -> None:
    for i, (counter, cost) in enumerate(zip(admission.plan.counters, admission.costs, strict=False)):
        was_taken = cost > 0 and bool(admission.numbers[4 * i])
        if counter.flags & ATTEMPT or not was_taken or counter.kind == "d":
            continue
        if counter.kind == "g":
            call.add(admission.keys[i], b"g", b"%d" % counter.a, b"%d" % cost)
        else:
            window = admission.now_ms * 1000 // counter.a
            call.add(admission.keys[i], b"w", b"%d" % window, b"%d" % cost)
