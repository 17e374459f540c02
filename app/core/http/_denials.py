"""Networks whose failed-auth limit is known to be used up until a time: they are refused without a round trip."""

from app.core.policies import Admission
from app.core.resilience import Clock


class Denials:
    """One gate's. ``capacity`` bounds how many networks are remembered; the oldest are forgotten first, and cost a round trip again."""

    def __init__(self, clock: Clock, capacity: int = 10_000) -> None:
        self._clock = clock
        self._capacity = capacity
        self._until: dict[str, float] = {}

    def wait_s(self, network: str) -> float:
        """Seconds until the network may try again, as far as this process knows; 0 or less: ask."""
        until = self._until.get(network)
        if until is None:
            return 0.0
        left = until - self._clock.monotonic()
        if left <= 0:
            del self._until[network]
        return left

    def add(self, network: str, admission: Admission) -> None:
        """Remember a refusal, if it was for the network alone and the store's word."""
        # Only the first limit of the plan, failed_auth, is about the network alone for certain.
        if admission.cause != 1 or admission.degraded:
            return
        if len(self._until) >= self._capacity:
            del self._until[next(iter(self._until))]
        self._until[network] = self._clock.monotonic() + admission.wait_s
