"""Jobs that may be ours without our knowing it: the answer to their claim was lost."""

from collections.abc import Collection, Iterable
from uuid import UUID

from app.core.resilience import Clock

_KEPT_S = 600.0


class Doubts:
    """Kept for ten minutes, which no statement outlasts. A job that the store calls ours so many ``beats`` in a row is: once or twice its
    claim may be under way again.
    """

    def __init__(self, beats: int, clock: Clock) -> None:
        self._beats = beats
        self._clock = clock
        self._until: dict[UUID, float] = {}
        self._seen: dict[UUID, int] = {}

    def add(self, ids: Iterable[UUID]) -> None:
        """The store was asked for them, and did not answer."""
        until = self._clock.monotonic() + _KEPT_S
        self._until.update(dict.fromkeys(ids, until))

    def ids(self) -> list[UUID]:
        """All of them."""
        now = self._clock.monotonic()
        self._until = {job_id: until for job_id, until in self._until.items() if until > now}
        return list(self._until)

    def confirmed(self, ours: Iterable[UUID], known: Collection[UUID]) -> list[UUID]:
        """The store says now that these are ours, and we do know of some; those that it said too often, which begin anew."""
        self._seen = {job_id: self._seen.get(job_id, 0) + 1 for job_id in ours if job_id not in known}
        lost = [job_id for job_id, times in self._seen.items() if times >= self._beats]
        for job_id in lost:
            del self._seen[job_id]
        return lost
