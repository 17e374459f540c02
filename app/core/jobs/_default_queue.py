"""The queue of the whole process, and ``publish_job_to_pulsar``: a job submitted by its arguments alone, whichever broker carries it."""

from contextlib import AbstractAsyncContextManager, nullcontext

from pydantic import BaseModel

from app.core.context import Principal, current_context
from app.core.db import AsyncSession, get_db_context, request_session
from app.core.errors import ConfigurationError
from app.core.jobs._queue import JobQueue


class _Default:
    """The queue that a door named for the whole process."""

    queue: JobQueue | None = None


def configure_jobs(queue: JobQueue | None) -> None:
    """Set the process's default queue. Called by doors; ``None`` forgets it."""
    _Default.queue = queue


def default_queue() -> JobQueue:
    """The queue that a door configured. Raises ``ConfigurationError`` when none did."""
    if _Default.queue is None:
        raise ConfigurationError(
            "No queue of jobs is configured in this process: a door (create_app, worker) calls core.jobs.configure_jobs()"
        )
    return _Default.queue


async def publish_job_to_pulsar(payload: BaseModel, user_id: object) -> str:
    """Submit the one declared job that takes arguments of this model, on behalf of a user; the job's id.

    The name is that of the documents: what carries the message is whatever broker the service has. In a request the job belongs to the
    transaction of its session (``get_db``): it exists if the answer is a success, and what the request costs is its price. Elsewhere it has
    a transaction of its own, and exists when this returns. The caller of the request lends the job his rights, if he is that user; for
    another user it has none.

    Raises ConfigurationError when no job takes such a payload, or more than one does; JobRejected (422) for more than 64 KiB; our database
    errors. Not for delays, priorities, keys, or jobs whose arguments share a model: ``JobQueue.enqueue`` takes the job itself.
    """
    queue, submitter = default_queue(), _submitter(str(user_id))
    async with _session() as session:
        added = await queue.enqueue_payload(session, payload, submitter=submitter)
    return str(added.id)


def _session() -> AbstractAsyncContextManager[AsyncSession]:
    session = request_session()
    return nullcontext(session) if session is not None else get_db_context()


def _submitter(user_id: str) -> Principal:
    caller = current_context().principal
    return caller if caller is not None and caller.id == user_id else Principal(user_id)
