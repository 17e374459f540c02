"""Retry: run a handler again after a failure that may pass. Only where running twice is known to be harmless."""

from dataclasses import dataclass

from app.core.policies._words import between


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How a handler is tried again: full jitter, exponential, within the endpoint's deadline and a budget per process.

    retry_safe: must be True: you say that the handler may run twice. An attempt that used the request's session runs in a savepoint, and is
        repeated only for errors that leave the connection usable.
    attempts: in all, 1 to 10. attempt_timeout: seconds of each, 0.001 to 3600; None: only the deadline of all.
    base, cap: seconds, 0 to 60 and ``base`` to 300; the wait before attempt n is random in 0 to min(cap, base * 2**(n-1)), or what
        Retry-After says.
    exceptions: classes that are retried; by default errors with a status of 500 or more, timeouts and connection errors. Cancellation
        and refusals never are.
    budget: share of retries among requests, 0 to 1 (Finagle: a tenth is 0.1), above a reserve of 10 a second; when it is used up the
        last error stands.
    """

    retry_safe: bool
    attempts: int = 3
    attempt_timeout: float | None = None
    base: float = 0.1
    cap: float = 5.0
    exceptions: tuple[type[Exception], ...] | None = None
    budget: float = 0.2

    def __post_init__(self) -> None:
        if self.retry_safe is not True:
            raise ValueError(
                "Retry.retry_safe must be True: only a handler that may run twice can be retried"
            )
        between("Retry", "attempts", self.attempts, 1, 10)
        between("Retry", "base", self.base, 0, 60)
        between("Retry", "cap", self.cap, self.base, 300)
        between("Retry", "budget", self.budget, 0, 1)
        if self.attempt_timeout is not None:
            between("Retry", "attempt_timeout", self.attempt_timeout, 0.001, 3600)
