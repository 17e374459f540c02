"""Metrics of jobs, as the worker that runs them sees them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.core.observability._events import Event, EventHub, JobEvent, QueueEvent
from app.core.observability._tally import observe_all

_RUN_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0)
_WAIT_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 3600.0)
_ATTEMPTS = (1, 2, 3, 5, 10, 25, 100)
_OVER = frozenset({"succeeded", "failed", "refused", "dead", "cancelled"})
_RAN = frozenset({"succeeded", "retried", "failed", "dead"})
_UNKNOWN = "(unknown)"


class _Series(NamedTuple):
    run: Histogram
    wait: Histogram
    attempts: Histogram


class JobMetrics:
    """``count`` is fed in batches. Labels are names from the code: jobs that nobody here declared share one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ends = Counter(
            "gatehouse_job_attempts_total",
            "Attempts at jobs by how they ended",
            ["job", "queue", "outcome"],
            registry=registry,
        )
        self._run = Histogram(
            "gatehouse_job_seconds", "Time of an attempt that ran", ["job"], buckets=_RUN_BUCKETS, registry=registry
        )  # fmt: skip
        self._wait = Histogram(
            "gatehouse_job_wait_seconds",
            "Time from when a job was due to its claim",
            ["job"],
            buckets=_WAIT_BUCKETS,
            registry=registry,
        )
        self._needed = Histogram(
            "gatehouse_job_attempts_needed",
            "Attempts at a job when it was over",
            ["job"],
            buckets=_ATTEMPTS,
            registry=registry,
        )
        self._moved = Counter(
            "gatehouse_jobs_rescued_total",
            "Jobs recovered from workers that were gone, buried with them, or published again",
            ["queue", "kind"],
            registry=registry,
        )
        self._in_work = Gauge(
            "gatehouse_jobs_in_work",
            "Jobs in work, at the last sign of life",
            ["queue"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._series: dict[str, _Series] = {}

    def subscribe(self, hub: EventHub) -> None:
        """Note what is said of several jobs at once from now on."""
        hub.subscribe(QueueEvent, self._on_queue)

    def count(self, events: Sequence[JobEvent]) -> None:
        """Count ended attempts, those of one job and end together."""
        groups: defaultdict[tuple[str, str, str], list[JobEvent]] = defaultdict(list)
        for event in events:
            groups[event.job if event.is_known else _UNKNOWN, event.queue, event.outcome].append(event)
        for labels, group in groups.items():
            self._ends.labels(*labels).inc(len(group))
            name, _, outcome = labels
            series = self._series.get(name) or self._find(name)
            observe_all(series.wait, [event.waited_s for event in group])
            if outcome in _RAN:
                observe_all(series.run, [event.duration_s for event in group])
            if outcome in _OVER:
                observe_all(series.attempts, [event.attempt for event in group])

    def _find(self, name: str) -> _Series:
        found = _Series(self._run.labels(name), self._wait.labels(name), self._needed.labels(name))
        self._series[name] = found
        return found

    def _on_queue(self, event: Event) -> None:
        assert isinstance(event, QueueEvent)  # noqa: S101 - by subscription
        if event.kind == "in_work":
            self._in_work.labels(event.queue).set(event.jobs)
        else:
            self._moved.labels(event.queue, event.kind).inc(event.jobs)
