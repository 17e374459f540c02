"""The frozen events that the platform emits, and the hub that carries them to subscribers.

Policies emit and import no subscriber; logging, metrics and tracing subscribe in the doors.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast
from uuid import UUID

import structlog


class PolicyEvent(NamedTuple):
    """One decision of one gate. A named tuple, because one is made per request and a frozen dataclass costs five times as much.

    ``policy`` is the name of the endpoint's policy, or of what work or a building block runs under. ``verdict``: admitted, replay, hit,
    unauthenticated, forbidden, invalid, limited, quota, no_credit, held, busy, in_flight, unknown, mismatch, circuit_open, disabled, shed,
    unavailable, or the name of a rule of ``JobConfig.extra`` that refused (docs/policies.md says which answer each is). ``cause`` names the
    limit or rule that decided; ``shadowed`` lists what would have refused in shadow mode; ``degraded`` is true when the store was down and
    the local substitute decided; ``store_s`` is the time of the round trip, in seconds.
    """

    policy: str
    verdict: str
    cause: str | None = None
    shadowed: tuple[str, ...] = ()
    degraded: bool = False
    store_s: float = 0.0
    request_id: str | None = None
    principal_id: str | None = None


class DatabaseEvent(NamedTuple):
    """One statement sent to the database.

    ``operation`` is the first word in lower case, ``error`` the SQLSTATE or the exception's class name. ``statement`` is its text without
    query tags. ``parameters`` are there to tell its runs apart and for nothing else; None where it is meant to run often. Neither may be
    shown as it is, and its ``repr`` leaves them out.
    """

    operation: str
    duration_s: float
    error: str | None = None
    statement: str = ""
    parameters: object = None

    def __repr__(self) -> str:
        return f"DatabaseEvent({self.operation!r}, {self.duration_s!r}, {self.error!r})"


class StoreEvent(NamedTuple):
    """Valkey changed state as this process sees it: ``state`` is up or down."""

    state: str
    reason: str | None = None


class StoreRefusedEvent(NamedTuple):
    """Valkey is up and answered a call with an error. ``code`` is its first word, such as WRONGTYPE."""

    code: str


class WorkEvent(NamedTuple):
    """One run of a handler under ``api_worker``. ``outcome`` is ok, error, timeout or cancelled."""

    policy: str
    duration_s: float
    outcome: str


class CacheEvent(NamedTuple):
    """What a cache did for one caller; ``cache`` is its name in ``CacheOptions``.

    ``kind``: hit, stale (the old value was shown), miss (made by this caller), wait (made by another one), bypass (Valkey was away:
    made without it), skipped (made without it: for an anonymous caller, or a transaction that must ask), refresh (made in the
    background), stored, lost (not stored: the lease had ended), unkept (not stored: its maker forbade it), too_large, unstorable (JSON
    cannot hold it), unreadable (so made anew), error (making it failed).
    """

    kind: str
    cache: str


class PeriodicEvent(NamedTuple):
    """One turn of a periodic task in one process. ``outcome`` is ok, failed or standby (another process leads)."""

    task: str
    outcome: str
    duration_s: float
    leads: bool


class JobEvent(NamedTuple):
    """One attempt at a job, as it ended. ``outcome``: succeeded, retried, postponed, failed, refused, dead, cancelled, parked, returned or
    lost (docs/jobs.md says which is what). ``status`` is the job's from now on, ``attempt`` counts from 1, times are in seconds:
    ``waited_s`` since it was due, ``ended_at`` since the epoch. ``error`` is what ended it: not to be shown as it is, and left out of the
    ``repr``. ``is_known`` False: nobody here knows a job of this name, so the name is not from the code.
    """

    job: str
    queue: str
    outcome: str
    status: str
    job_id: UUID
    attempt: int
    duration_s: float
    waited_s: float
    ended_at: float
    submitter: str | None = None
    trace_id: str | None = None
    error: BaseException | None = None
    is_known: bool = True

    def __repr__(self) -> str:
        return f"JobEvent({self.job!r}, {str(self.job_id)!r}, {self.attempt!r}, {self.outcome!r})"


class QueueEvent(NamedTuple):
    """Something about several jobs of a ``queue`` at once, or of all queues ("").

    ``kind``: in_work (how many a worker has in work now), recovered (of a worker that was gone, queued again), buried (the same, without
    attempts left), republished (the broker had lost them).
    """

    kind: str
    queue: str
    jobs: int


class CreditEvent(NamedTuple):
    """What became of some ``charges`` or their holds.

    ``outcome``: posted (a batch wrote them), delayed (a batch has to be tried again), dropped (a charge is given up: the request was
    free), committed or released (an expired hold whose charge is, or is not, in the ledger), expired (grants).
    """

    outcome: str
    charges: int


class SettlementEvent(NamedTuple):
    """What became of the claim, slots or credits of one request.

    ``outcome``: settled (in time: kept or given back), late (a lease was over before, others may have had the place meanwhile), fenced
    (the claim was taken over, so the result was not kept), failed (Valkey did not answer: leases and the sweeper end what was taken).
    And takeover, when it is admitted: an expired claim of an idempotency key became this request's.
    """

    policy: str
    outcome: str


class HoldsEvent(NamedTuple):
    """How many holds of credits the sweeper found ``open``: those of requests in flight, and of any that nobody has settled yet."""

    open: int


class BreakerEvent(NamedTuple):
    """A circuit breaker changed: ``state`` is closed, half_open, open, isolated, or would_open (a breaker that only counts).

    ``former`` is None when the breaker has just been made.
    """

    dependency: str
    state: str
    former: str | None = None


class RetryEvent(NamedTuple):
    """What followed a failed attempt: ``verdict`` is retried, exhausted, no_budget, no_time or final (not to be repeated)."""

    policy: str
    verdict: str


class KeysEvent(NamedTuple):
    """The keys of another issuer of tokens were asked for: ``outcome`` is fetched or failed."""

    outcome: str


Event = (
    PolicyEvent
    | DatabaseEvent
    | StoreEvent
    | StoreRefusedEvent
    | WorkEvent
    | CacheEvent
    | PeriodicEvent
    | CreditEvent
    | JobEvent
    | QueueEvent
    | SettlementEvent
    | HoldsEvent
    | BreakerEvent
    | RetryEvent
    | KeysEvent
)
Subscriber = Callable[[Event], None]
E = TypeVar("E", bound=Event)


class EventHub:
    """Hands each event to every subscriber of its kind, in order of subscription.

    Subscribers must not block or await. One that raises is logged and does not disturb the request or the
    other subscribers.
    """

    def __init__(self) -> None:
        self._subscribers: dict[type, tuple[Subscriber, ...]] = {}

    def subscribe(self, kind: type[E], subscriber: Callable[[E], None]) -> None:
        """Add a subscriber for one kind of event."""
        # It is called with events of its kind only.
        self._subscribers[kind] = (*self._subscribers.get(kind, ()), cast("Subscriber", subscriber))

    def emit(self, event: Event) -> None:
        """Deliver at once, in the caller's task."""
        for subscriber in self._subscribers.get(type(event), ()):
            try:
                subscriber(event)
            except Exception:  # noqa: BLE001 - a broken dashboard must not break the request
                structlog.get_logger(__name__).exception(
                    "event.subscriber_failed", event_type=type(event).__name__
                )
