"""Idempotency: the same request sent again, under the same ``Idempotency-Key``, is answered again and not done again."""

from dataclasses import dataclass
from typing import Literal

from app.core.errors import BadRequest, PolicyRejected, Unavailable
from app.core.policies._words import between, one_of

Durability = Literal["valkey", "db"]
ExpiredClaim = Literal["rerun", "refuse", "consult_db"]


class IdempotencyKeyInvalid(BadRequest):
    """The key is missing where it is required, given twice, or of the wrong form (RFC 8941 string or bare token, 1 to 255 characters)."""


class IdempotencyKeyInUse(PolicyRejected):
    """A request with this key is being worked on, or its outcome is unknown. ``retry_after``: when it may be asked again."""

    status = 409
    title = "Conflict"


class IdempotencyKeyReused(PolicyRejected):
    """This key belongs to another request: another body, path or query."""

    status = 422
    title = "Unprocessable Content"


class IdempotencyUnavailable(Unavailable):
    """Whether a key was used before cannot be checked; the request is not run unguarded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """What a repeated ``Idempotency-Key`` means on an endpoint (draft-ietf-httpapi-idempotency-key-header).

    required: a request without the header is 400. Otherwise it is an ordinary request.
    durability: ``valkey`` runs at most once, except when Valkey loses its last writes in a failover; ``db`` keeps the result as a row in
        the handler's own transaction: exactly once for what the handler writes through its session. Money needs ``db``.
    retention: seconds that a result is answered again; 60 to 2,678,400 (31 days).
    lease: seconds, 1 to 3600, after which a claim whose request vanished may be decided anew; None: the endpoint's timeout (30 without one)
        and 10 seconds.
    on_expired_claim: then ``rerun``, ``refuse`` (409, because the effect is unknown), or ``consult_db`` (done if its row is there, rerun
        if not). None: ``consult_db`` with ``durability="db"``, otherwise ``refuse``.
    methods: those it applies to, of POST, PATCH, PUT and DELETE; others ignore the header.
    replay_cost: 1 charges a replay to the attempt limits like any request, 0 does not.
    save_errors: keep 5xx answers and exceptions after the handler began as results. None: only with ``valkey``, where the effect is
        unknown; with ``db`` the transaction was rolled back and a retry may run.
    max_body: bytes of the largest body that is kept, 0 to 1,048,576. A longer answer is not repeated: its replay is 409
        ``result_not_retained``.
    headers: response headers that are kept besides content type, language, encoding, disposition, location, link, etag and cache control;
        Set-Cookie, Date and rate-limit fields never are.

    While Valkey is down a request that brings a key (or must) is 503: running it unguarded is what this exists to prevent.
    """

    required: bool = False
    durability: Durability = "valkey"
    retention: float = 86_400.0
    lease: float | None = None
    on_expired_claim: ExpiredClaim | None = None
    methods: tuple[str, ...] = ("POST", "PATCH")
    replay_cost: Literal[0, 1] = 1
    save_errors: bool | None = None
    max_body: int = 262_144
    headers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        one_of("Idempotency", "durability", self.durability, Durability)
        between("Idempotency", "retention", self.retention, 60, 2_678_400)
        between("Idempotency", "max_body", self.max_body, 0, 1_048_576)
        one_of("Idempotency", "replay_cost", self.replay_cost, Literal[0, 1])
        if self.lease is not None:
            between("Idempotency", "lease", self.lease, 1, 3600)
        if self.on_expired_claim is not None:
            one_of("Idempotency", "on_expired_claim", self.on_expired_claim, ExpiredClaim)
            if (self.on_expired_claim == "consult_db") != (self.durability == "db"):
                raise ValueError(
                    "Idempotency.on_expired_claim: consult_db is for durability='db', and the only choice there"
                )
        if not self.methods or set(self.methods) - {"POST", "PATCH", "PUT", "DELETE"}:
            raise ValueError(f"Idempotency.methods must be of POST, PATCH, PUT, DELETE, not {self.methods!r}")
        if {name.lower() for name in self.headers} & {"set-cookie", "date", "ratelimit", "ratelimit-policy"}:
            raise ValueError("Idempotency.headers must not keep Set-Cookie, Date or rate-limit fields")

    @property
    def saves_errors(self) -> bool:
        """``save_errors`` with its default filled in."""
        return self.durability == "valkey" if self.save_errors is None else self.save_errors

    @property
    def expired_claim(self) -> ExpiredClaim:
        """``on_expired_claim`` with its default filled in."""
        return self.on_expired_claim or ("consult_db" if self.durability == "db" else "refuse")
