"""The options of a worker."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How one worker works.

    name: for people. queues: what it takes jobs from. concurrency: jobs in work in its loop at once; processes: of the pool, one job each.
    In seconds: beat_s, between signs of life; wait_s, how long it waits for a message at a time; publish_s, between looks for what is due
    and was not published; recover_s, the same for workers that are gone; grace_s, how long jobs in work may take when it stops, after which
    they are given back.
    """

    name: str
    queues: tuple[str, ...]
    concurrency: int = 64
    processes: int = 1
    beat_s: float = 1.0
    wait_s: float = 1.0
    publish_s: float = 0.5
    recover_s: float = 5.0
    grace_s: float = 30.0
