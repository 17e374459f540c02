"""What can be wrong with a job.

GatehouseError
├── JobRejected      422  arguments or options that make no sense; refused when it is submitted
├── UnknownJob       422  nobody declared a job of this name
├── JobFailed        500  the job itself says that it cannot succeed, or its result cannot be kept: it is not tried again
├── AttemptFailed    500  this attempt did not succeed; another may, and not before a time that the job knows
└── HandlerFailed    500  it failed in a process of its own, where the error stayed
WorkerGivenUp             the store takes this worker for dead: it claims nothing
ClaimLost                 somebody else has the job now; what this attempt did in its session is rolled back
"""

from app.core.errors import GatehouseError, Unprocessable


class JobRejected(Unprocessable):
    """It cannot be submitted as it is."""


class UnknownJob(Unprocessable):
    """There is no job of this name."""


class JobFailed(GatehouseError):
    """Raised by a handler: it cannot succeed, however often it is tried. Raised by us for a result that nobody can keep. ``detail`` is
    shown to the submitter.
    """

    title = "The job failed"


class AttemptFailed(GatehouseError):
    """Raised by a handler: it did not succeed this time. ``detail`` is shown to the submitter; ``retry_after_s`` is the least pause before
    the next attempt, the job's own backoff the other.
    """

    title = "The attempt failed"

    def __init__(self, detail: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class HandlerFailed(GatehouseError):
    """A job in a process of the pool failed with an error of class ``kind``, whose words and traceback are in the worker's log; or the
    process itself ended, which is ``ProcessDied``. It is tried again.
    """

    title = "The job failed"

    def __init__(self, kind: str) -> None:
        super().__init__(f"It failed with {kind}.")
        self.kind = kind


class WorkerGivenUp(Exception):
    """The store has not heard of this worker for too long, and gave its jobs to others."""


class ClaimLost(Exception):
    """The worker was taken for dead, and its job given to another."""
