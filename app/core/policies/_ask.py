"""What a request asks of ADMIT beyond its rate limits. Keys and numbers only: made by the gate, read by the script."""

from enum import IntEnum
from typing import NamedTuple


class Verdict(IntEnum):
    """ADMIT's answer. Everything but ADMITTED, FRESH, STALE and REPLAY took nothing except attempt limits."""

    ADMITTED = 0
    LIMITED = 1  # a rate limit refuses: 429
    QUOTA = 2  # a plan's quota is used up: 429
    BUSY = 3  # no concurrency slot is free: 429 or 503
    NO_CREDIT = 4  # 402
    HELD = 5  # the credits are there, but held by requests in flight: 429
    COLD = 6  # the account's balance is not in the store: load it and ask again; nothing at all was charged
    REPLAY = 7  # idempotency: done before; the result is in the tail
    IN_FLIGHT = 8  # idempotency: somebody is at it: 409
    MISMATCH = 9  # idempotency: the key belongs to another request: 422
    UNKNOWN = 10  # idempotency: an expired claim that must not be taken over: 409
    FRESH = 11  # cache: answer with the entry in the tail; quota, slots and credits were not touched
    STALE = 12  # cache: the entry in the tail is stale and somebody else computes it anew: answer with it
    WAIT = 13  # cache: nothing is stored and somebody else computes it: wait for him
    OPEN = 14  # the circuit is open and no entry can be shown: 503
    CLOCK = 15  # a calendar window of the ask is over by the server's clock, or nothing fresh was found by a glance: ask again, for all
    REVOKED = 16  # the token's session, or all the account's tokens of its time, have ended: 401
    UNPROVEN = 17  # nobody knows here what of the account has ended: load it and ask again; nothing at all was charged


VERDICT_WORDS = {verdict: verdict.name.lower() for verdict in Verdict} | {
    Verdict.FRESH: "hit",
    Verdict.STALE: "hit",
    Verdict.WAIT: "hit",
    Verdict.OPEN: "circuit_open",
}
"""The verdicts as events, metrics and logs call them."""


class Token(NamedTuple):
    """The token that the caller is known by: ``issued_ms`` on the issuer's clock, ``session`` as it stands in the epoch under ``key``."""

    account: str
    key: str
    issued_ms: int
    session: bytes


class Claim(NamedTuple):
    """An idempotency key to claim. ``rerun``: an expired claim may be taken over (its generation grows by one). ``name``: the
    request's field that names it.
    """

    key: str
    fingerprint: str
    lease_ms: int
    retention_ms: int
    rerun: bool
    replay_cost: int = 1
    name: str = "Idempotency-Key"


class Lookup(NamedTuple):
    """A cached answer to look for. Without one the caller may become its leader: ``lease_ms`` says for how long.

    ``must_compute``: do not wait for another leader (he took too long), and do not answer from the store. ``lease_ms`` 0 is a glance:
    where nothing fresh is stored, and where the store does not answer, the verdict is CLOCK, nothing was taken, and all is to be asked.
    """

    key: str
    tag_keys: tuple[str, ...]
    lease_ms: int
    must_compute: bool = False
    hit_cost: int = 1

    @property
    def is_glance(self) -> bool:
        """Whether nothing but a fresh entry is asked for."""
        return self.lease_ms == 0


class Allowance(NamedTuple):
    """A calendar quota: ``key`` names the period, which ends at ``end_ms`` of the server's clock. ``name`` is what callers see."""

    key: str
    end_ms: int
    limit: int
    cost: int
    shadow: bool
    on_store_down: str
    name: str


class Slot(NamedTuple):
    """A concurrency slot to take. ``name`` is what callers see; ``scope`` (user, tenant, route, global) decides between 429 and 503."""

    key: str
    most: int
    lease_ms: int
    shadow: bool
    on_store_down: str
    name: str
    scope: str


class Hold(NamedTuple):
    """Credits to hold, in micro-credits. ``settlement_key`` is what the ledger will know the charge by; it has no spaces."""

    key: str
    micro: int
    lease_ms: int
    settlement_key: str
    shadow: bool


class Ask(NamedTuple):
    """All of it; parts that are None or empty are not asked for.

    ``lacking`` names policies in shadow mode that could not be asked, because what they need is away: the admission reports them.
    """

    claim: Claim | None = None
    lookup: Lookup | None = None
    circuit_open: bool = False
    allowances: tuple[Allowance, ...] = ()
    slots: tuple[Slot, ...] = ()
    hold: Hold | None = None
    lacking: tuple[str, ...] = ()
    token: Token | None = None

    @property
    def price(self) -> Hold | None:
        """The hold, unless it only watches: in shadow nothing is held and nothing is charged."""
        return None if self.hold is None or self.hold.shadow else self.hold

    def without_hold(self) -> "Ask":
        """The same for an account that cannot be loaded, whose hold is in shadow mode."""
        return self._replace(hold=None, lacking=("credits",))


NOTHING = Ask()
