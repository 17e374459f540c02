"""Tells of the end of every attempt at a job, once."""

from collections import Counter
from collections.abc import Iterable, Sequence
from time import monotonic, time

from app.core.jobs._records import ClaimedJob
from app.core.jobs.worker._verdict import Word
from app.core.observability import EventHub, JobEvent, QueueEvent

_STATUS: dict[Word, str] = {
    "retried": "queued",
    "postponed": "queued",
    "parked": "queued",
    "returned": "queued",
    "refused": "failed",
    "lost": "running",
}


class JobReporter:
    """Emits a ``JobEvent`` for each."""

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub

    def tell(
        self, claimed: ClaimedJob, word: Word, started: float, error: BaseException | None = None
    ) -> None:
        """The attempt that began at ``started`` (of the monotonic clock; 0: it did not begin) has ended."""
        submitter, traceparent = claimed.submitter, claimed.traceparent
        self._hub.emit(
            JobEvent(
                claimed.name,
                claimed.queue,
                word,
                _STATUS.get(word, word),
                claimed.id,
                claimed.attempt,
                monotonic() - started if started else 0.0,
                claimed.waited_s,
                time(),
                None if submitter is None else submitter.id,
                None if traceparent is None else traceparent[3:35],
                error,
                word != "parked",
            )
        )

    def in_work(self, queues: Sequence[str], of: Iterable[str]) -> None:
        """``of``: the queue of each job that is in work now."""
        counts = Counter(of)
        for queue in queues:
            self._hub.emit(QueueEvent("in_work", queue, counts[queue]))
