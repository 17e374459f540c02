"""What is asked beyond rate limits, as the ADMIT script takes it, and its answer as objects."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from app.core.policies._ask import Allowance, Ask, Claim, Hold, Lookup, Token, Verdict
from app.core.valkey import lease_key as entry_lease_key

_EXACT = 2**53  # above this a double, and so Lua, is not exact
_FLAGS = (b"0", b"1")
_VERDICTS = {int(verdict.value): verdict for verdict in Verdict}


class Answer(NamedTuple):
    """What ADMIT said about the parts of an ``Ask``.

    ``generation`` of the claim; ``left_ms`` of another's claim; ``is_leader``: this request computes the cached answer; ``available``
    micro-credits, -1 when unknown; ``credit`` 0 fine, 1 held, 2 too little; ``quotas`` (passed, remaining) in order; ``slots`` passed in
    order; ``versions`` of the tags; ``tail``: a result (REPLAY) or an entry. Parts that were not looked at are missing.
    """

    verdict: Verdict
    generation: int = 0
    left_ms: int = 0
    is_leader: bool = False
    available: int = -1
    credit: int = 0
    quotas: tuple[tuple[bool, int], ...] = ()
    slots: tuple[bool, ...] = ()
    versions: bytes = b"-"
    tail: bytes = b""
    top_up_url: str | None = None


def flatten(ask: Ask, rid: str, keys: list[str], arguments: list[bytes], *, versions: bytes = b"") -> None:
    """Append keys and arguments of the parts, in the script's order. ``versions`` of the lookup's tags, where they were read elsewhere.

    Raises ValueError for numbers that Lua cannot count exactly and for text that would break a record.
    """
    arguments += (rid.encode(), _FLAGS[ask.circuit_open])
    if ask.token is not None:
        _token(ask.token, keys, arguments)
    if ask.claim is not None:
        _claim(ask.claim, keys, arguments)
    if ask.lookup is not None:
        _lookup(ask.lookup, keys, arguments, versions)
    for allowance in ask.allowances:
        _allowance(allowance, keys, arguments)
    for slot in ask.slots:
        keys.append(slot.key)
        arguments += _slot_arguments(slot.most, slot.lease_ms, slot.shadow)
    if ask.hold is not None:
        _hold(ask.hold, keys, arguments)


def _token(token: Token, keys: list[str], arguments: list[bytes]) -> None:
    keys.append(token.key)
    arguments += (b"e", b"%d" % token.issued_ms, token.session)


def _claim(claim: Claim, keys: list[str], arguments: list[bytes]) -> None:
    keys.append(claim.key)
    arguments += (
        b"c",
        _word(claim.fingerprint),
        b"%d" % claim.lease_ms,
        b"%d" % claim.retention_ms,
        _FLAGS[claim.rerun],
        b"%d" % claim.replay_cost,
    )


def _lookup(lookup: Lookup, keys: list[str], arguments: list[bytes], versions: bytes) -> None:
    tags = () if versions else lookup.tag_keys
    keys += (lookup.key, lease_key(lookup), *tags)
    arguments += _lookup_arguments(lookup.lease_ms, lookup.must_compute, lookup.hit_cost, len(tags))
    arguments.append(versions)


def _allowance(allowance: Allowance, keys: list[str], arguments: list[bytes]) -> None:
    if max(allowance.limit, allowance.cost) >= _EXACT // 2:
        raise ValueError(f"the quota {allowance.name} is too large to be counted exactly")
    keys.append(allowance.key)
    arguments += _quota_arguments(allowance.end_ms, allowance.limit, allowance.cost, allowance.shadow)


def _hold(hold: Hold, keys: list[str], arguments: list[bytes]) -> None:
    if not 0 < hold.micro < _EXACT:
        raise ValueError("a hold must be 1 to 2**53 - 1 micro-credits")
    keys.append(hold.key)
    arguments += (
        b"h",
        b"%d" % hold.micro,
        b"%d" % hold.lease_ms,
        _word(hold.settlement_key),
        _FLAGS[hold.shadow],
    )


# An endpoint asks with the same few numbers again and again.


@lru_cache(maxsize=1024)
def _slot_arguments(most: int, lease_ms: int, shadow: bool) -> tuple[bytes, ...]:
    return (b"s", b"%d" % most, b"%d" % lease_ms, _FLAGS[shadow])


@lru_cache(maxsize=1024)
def _lookup_arguments(lease_ms: int, must_compute: bool, hit_cost: int, tags: int) -> tuple[bytes, ...]:
    return (b"l", b"%d" % lease_ms, _FLAGS[must_compute], b"%d" % hit_cost, b"%d" % tags)


@lru_cache(maxsize=4096)
def _quota_arguments(end_ms: int, limit: int, cost: int, shadow: bool) -> tuple[bytes, ...]:
    return (b"q", b"%d" % end_ms, b"%d" % limit, b"%d" % cost, _FLAGS[shadow])


def _word(text: str) -> bytes:
    if not text or " " in text or "\n" in text:
        raise ValueError("fingerprints and settlement keys are one word without spaces")
    return text.encode()


def lease_key(lookup: Lookup) -> str:
    """Where the lease of a computation stands."""
    return entry_lease_key(lookup.key)


def answer_of(verdict: int, numbers: Sequence[int], ask: Ask, tail: bytes, top_up_url: str | None) -> Answer:
    """The answer out of the numbers that follow the limits' in the script's reply, and of the lines after them."""
    generation, left_ms, leader, available, credit = numbers[:5]
    versions, _, tail = tail.partition(b"\n")
    quotas: tuple[tuple[bool, int], ...] = ()
    slots: tuple[bool, ...] = ()
    if len(numbers) > 5:
        at = 5 + 2 * len(ask.allowances)
        quotas = tuple([(bool(numbers[i]), numbers[i + 1]) for i in range(5, at, 2)])
        slots = tuple([bool(passed) for passed in numbers[at:]])
    return Answer(
        _VERDICTS[verdict], generation, left_ms, bool(leader), available, credit, quotas, slots, versions, tail,
        top_up_url,
    )  # fmt: skip
