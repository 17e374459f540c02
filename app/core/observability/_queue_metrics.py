"""How queues of jobs stand, as metrics of the process that last looked. All processes see the same: take the highest, not the sum."""

from collections.abc import Mapping
from typing import NamedTuple

from prometheus_client import Gauge

_jobs = Gauge(
    "gatehouse_jobs",
    "Jobs in the database by status: waiting (due), delayed (for later), running, dead; each counted up to 10,000",
    ["queue", "status"],
    multiprocess_mode="livemostrecent",
)
_oldest = Gauge(
    "gatehouse_jobs_oldest_seconds",
    "How long the oldest job that waits has been due; 0 when none waits",
    ["queue"],
    multiprocess_mode="livemostrecent",
)
_takers = Gauge(
    "gatehouse_jobs_queue_workers",
    "Workers that give signs of life and take jobs from the queue",
    ["queue"],
    multiprocess_mode="livemostrecent",
)
_messages = Gauge(
    "gatehouse_jobs_messages",
    "Messages at the broker by state: waiting, unacked (delivered, not done with), dead (put aside)",
    ["queue", "state"],
    multiprocess_mode="livemostrecent",
)
# Labelled, so that there is no series before somebody has looked.
_workers = Gauge(
    "gatehouse_jobs_workers",
    "Workers that give signs of life",
    ["service"],
    multiprocess_mode="livemostrecent",
)


class QueueReading(NamedTuple):
    """One queue as it was found: jobs by status, the age of the oldest that waits in seconds, workers that take from it."""

    counts: Mapping[str, int]
    oldest_s: float
    workers: int


class QueueMeter:
    """Tells how the queues stand. Their names come from the code and from rows that the code wrote, never from a request."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, queues: Mapping[str, QueueReading], *, workers: int) -> None:
        """What was found now. A queue that was told before and is not there any more counts as empty."""
        for gone in self._told - queues.keys():
            self.tell_broker(gone, waiting=0, unacked=0, dead=0)
        nothing = QueueReading(dict.fromkeys(("waiting", "delayed", "running", "dead"), 0), 0.0, 0)
        for queue in self._told | queues.keys():
            counts, oldest_s, takers = queues.get(queue, nothing)
            for status, count in counts.items():
                _jobs.labels(queue, status).set(count)
            _oldest.labels(queue).set(oldest_s)
            _takers.labels(queue).set(takers)
        _workers.labels("jobs").set(workers)
        self._told |= queues.keys()

    def tell_broker(self, queue: str, *, waiting: int, unacked: int, dead: int) -> None:
        """Messages of a queue at the broker."""
        for state, count in (("waiting", waiting), ("unacked", unacked), ("dead", dead)):
            _messages.labels(queue, state).set(count)
