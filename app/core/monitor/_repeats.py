"""N+1 in production: endpoints that read the same in a loop, where one statement would do."""

from collections import deque
from collections.abc import Callable, Sequence
from statistics import median
from threading import Lock
from time import perf_counter

from app.core.context import current_context
from app.core.db import call_path
from app.core.monitor._repeats_found import RepeatedRead, loader_fix
from app.core.monitor._request_reads import CountedRead, RequestReads
from app.core.observability import DatabaseEvent, EventHub, RequestRecord

_OPEN = 1000  # Requests in flight that are looked at; what runs after its request has ended is among them for a while.
_PLACES = 1000
_SAMPLES = 50


class _Place:
    """One statement of one endpoint, in the last requests that ran it."""

    __slots__ = ("lines", "milliseconds", "policy", "requests", "times")

    def __init__(self, policy: str | None) -> None:
        self.policy = policy
        self.requests = 0
        self.lines: tuple[str, ...] = ()
        self.times: deque[int] = deque(maxlen=_SAMPLES)
        self.milliseconds: deque[float] = deque(maxlen=_SAMPLES)

    def note(self, read: CountedRead) -> None:
        self.requests += read.is_repeated
        self.lines = read.lines or self.lines
        self.times.append(read.times)
        self.milliseconds.append(read.total_s * 1000)

    def found(self, endpoint: str, shape: str) -> RepeatedRead:
        return RepeatedRead(
            endpoint=endpoint,
            policy=self.policy,
            statement=shape,
            is_n_plus_one=min(self.times) != max(self.times),
            requests=self.requests,
            times_min=min(self.times),
            times_median=median(self.times),
            times_max=max(self.times),
            median_ms=round(median(self.milliseconds), 3),
            lines=self.lines,
            fix=loader_fix(shape),
        )


class RepeatedReads:
    """Watches the statements of requests, and keeps what some endpoint repeats: a SELECT that in one request ran at least five times with
    different parameters, one run after the other, after another read, for 50 ms or more in all or at least 20 times.

    It is called an N+1 when the number of runs differs between requests; five for every request are a choice. Pages of a list, lists of
    50 values and more, the catalog, and statements with ``execution_options(may_repeat=True)`` are left out. The line of code is looked
    up at the fifth run, so that a request without repetitions pays under a microsecond a statement, and one without statements nothing.
    At most 1,000 statements of endpoints with the last 50 requests of each; no values. Of one process; safe in threads. Two requests to
    which a proxy gave one id at the same time count as one. Not for jobs, which have no request.
    """

    def __init__(self, *, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._lock = Lock()
        self._open: dict[str, RequestReads] = {}
        self._places: dict[tuple[str, str], _Place] = {}
        self._endpoints: set[str] = set()
        self.is_watching = False
        """Whether it is subscribed to anything."""

    def subscribe(self, hub: EventHub) -> None:
        """Watch every statement that this hub tells of from now on."""
        self.is_watching = True
        hub.subscribe(DatabaseEvent, self._on_statement)

    def _on_statement(self, event: DatabaseEvent) -> None:
        request_id = current_context().request_id
        if request_id is None:
            return
        reads = self._open.get(request_id)
        if reads is None:
            reads = self._enter(request_id)
        read = reads.note(event, self._clock())
        if read is not None and read.follows:
            read.lines = call_path()

    def _enter(self, request_id: str) -> RequestReads:
        with self._lock:
            if len(self._open) >= _OPEN:
                del self._open[next(iter(self._open))]
            return self._open.setdefault(request_id, RequestReads())

    def on_requests(self, records: Sequence[RequestRecord]) -> None:
        """Take what these requests did; a consumer of ``RequestReports``."""
        if not self._open:
            return
        with self._lock:
            for record in records:
                reads = self._open.pop(record.request_id, None)
                if reads is None:
                    continue
                endpoint = f"{record.method} {record.route}"
                if reads.is_suspect or endpoint in self._endpoints:
                    self._take(endpoint, record.policy, reads)

    def _take(self, endpoint: str, policy: str | None, reads: RequestReads) -> None:
        for read in reads:
            place = self._places.pop((endpoint, read.shape), None)
            if place is None and read.is_repeated:
                place = self._new(endpoint, policy)
            if place is not None and read.times:
                # At the end again: the first of the dict is the one that was longest not seen.
                self._places[endpoint, read.shape] = place
                place.note(read)

    def _new(self, endpoint: str, policy: str | None) -> _Place:
        if len(self._places) >= _PLACES:
            del self._places[next(iter(self._places))]
            self._endpoints = {known for known, _ in self._places}
        self._endpoints.add(endpoint)
        return _Place(policy)

    def get_repeats(self) -> list[RepeatedRead]:
        """What was found, N+1 first, then by the time that one request loses."""
        with self._lock:
            found = [place.found(*key) for key, place in self._places.items()]
        return sorted(found, key=lambda each: (not each.is_n_plus_one, -each.median_ms))
