"""What becomes of a job after an attempt that failed: again, later, or never."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from app.core.errors import GatehouseError, NotAuthenticated, PermissionDenied, PolicyRejected, Unavailable
from app.core.jobs._errors import AttemptFailed, JobFailed, JobRejected
from app.core.jobs._job import Job
from app.core.jobs._keepable import keepable_pause, keepable_text
from app.core.jobs._records import ClaimedJob, Outcome, Status

Word = Literal[
    "succeeded",
    "retried",
    "postponed",
    "failed",
    "refused",
    "dead",
    "cancelled",
    "parked",
    "returned",
    "lost",
]
"""How one attempt ended. ``retried``: it failed and is tried again; ``postponed``: a policy or an outage kept it from beginning;
``failed``: it said that it cannot succeed; ``refused``: its submitter may not; ``dead``: it failed for the last time; ``parked``: no worker
here knows its name; ``returned``: the worker stops; ``lost``: somebody else has it.
"""
_PAUSE_S = 5.0
_BROKEN_S = 60.0
_MOST_WORDS = 2000


class Verdict(NamedTuple):
    """The word for it, what the store is told (None where it was told, or must not be), and what ended the attempt."""

    word: Word
    outcome: Outcome | None
    error: Exception | None = None


def verdict_on(
    error: Exception, claimed: ClaimedJob, job: Job[Any], *, has_begun: bool, rng: Callable[[], float]
) -> Verdict:
    """What follows from ``error``, which ended the attempt before or after its handler had begun. ``rng``: 0 to 1."""

    def ended(word: Word, status: Status, delay_s: float = 0.0, *, is_attempt: bool = True) -> Verdict:
        outcome = Outcome(
            claimed.id,
            claimed.attempt,
            status,
            error=keepable_text(words_of(error), _MOST_WORDS),
            delay_s=keepable_pause(delay_s),
            is_attempt=is_attempt,
            is_followed=claimed.is_followed,
        )
        return Verdict(word, outcome, error)

    if isinstance(error, (JobFailed, JobRejected)):
        return ended("failed", "failed")
    if isinstance(error, (NotAuthenticated, PermissionDenied)):
        return ended("failed" if has_begun else "refused", "failed")
    if (pause_s := _pause_of(error, has_begun=has_begun)) is not None:
        return ended("postponed", "queued", pause_s * (1 + 0.5 * rng()), is_attempt=False)
    if claimed.attempt >= claimed.max_attempts:
        return ended("dead", "dead")
    least_s = error.retry_after_s if isinstance(error, AttemptFailed) else 0.0
    return ended("retried", "queued", max(least_s, job.options.backoff(claimed.attempt, rng)))


def broken(claimed: ClaimedJob) -> Outcome:
    """Of an attempt that ended in an error of ours."""
    status, delay_s = ("dead", 0.0) if claimed.attempt >= claimed.max_attempts else ("queued", _BROKEN_S)
    return Outcome(
        claimed.id,
        claimed.attempt,
        status,  # type: ignore[arg-type]
        error="It could not be run.",
        delay_s=delay_s,
        is_followed=claimed.is_followed,
    )


def words_of(error: Exception) -> str:
    """What the submitter may know of an error: ours say it themselves, of others only the kind; their words are in the log."""
    if isinstance(error, GatehouseError):
        return error.detail or error.title
    return f"It failed with {type(error).__name__}."


def _pause_of(error: Exception, *, has_begun: bool) -> float | None:
    """Seconds after which it may be asked again: a policy that said no, a dependency that is away, before the handler began. After that
    only for a refusal that says when it ends, such as a limit that the handler itself asked for; anything else is an attempt.
    """
    if not isinstance(error, (PolicyRejected, Unavailable)):
        return None
    if has_begun:
        waits = error.retry_after if isinstance(error, PolicyRejected) else None
        return None if waits is None else float(waits)
    return float(error.retry_after) if error.retry_after else _PAUSE_S
