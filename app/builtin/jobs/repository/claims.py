"""Claiming jobs for a worker, and writing how they ended: many in one statement."""

import re
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.jobs.repository.ends import ENDED_COLUMNS, ended_of
from app.builtin.jobs.repository.submitters import unpacked_submitter
from app.core.db import Database, translate_errors
from app.core.jobs import ClaimedJob, EndedJob, Outcome, WorkerGivenUp

# Rows are found by their ids and checked then, inside a CASE: the planner would think that hardly any row is running, as was so when it
# last looked, and would compare each of them with each outcome (measured: 400 ends took a second).
# A claim need not be on the disk before the job begins: if the server falls and forgets it, the job is queued, as it was before, and its
# message is found missing. Ends are waited for.
# Who claims is locked, so that he is not given up in between: whoever takes the jobs of a worker that is gone finds all of them.
_CLAIM = """
UPDATE jobs SET status = 'running', attempts = attempts + 1, worker_id = $1, started_at = clock_timestamp(), publish_at = NULL,
    progress = NULL, note = NULL
WHERE id = ANY($2::uuid[]) AND CASE WHEN status = 'queued' THEN run_at <= clock_timestamp() ELSE false END
    AND EXISTS (SELECT FROM job_workers WHERE id = $1 AND NOT is_gone FOR KEY SHARE)
    AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL
RETURNING id, name, queue, attempts, max_attempts, CAST(arguments AS text), CAST(submitter AS text), traceparent,
    CAST(extract(epoch FROM clock_timestamp() - run_at) AS float8), is_charged OR webhook_id IS NOT NULL
"""
_IS_KNOWN = "SELECT EXISTS (SELECT FROM job_workers WHERE id = $1 AND NOT is_gone)"
_MINE = """WHERE j.id = o.id
    AND CASE WHEN j.status = 'running' THEN j.worker_id = $1 AND j.attempts = o.attempt ELSE false END"""
# Somebody who wants the job ended does not want it tried again.
_AGAIN = "(o.status = 'queued' AND j.cancel_requested_at IS NULL)"
# An attempt's end: for good, or queued again. Only the claim that is still there counts.
_FINISH = f"""
UPDATE jobs j SET status = CASE WHEN o.status <> 'queued' OR {_AGAIN} THEN o.status ELSE 'cancelled' END,
    result = CAST(o.result AS jsonb), error = o.error, worker_id = NULL,
    attempts = j.attempts - CASE WHEN o.is_attempt THEN 0 ELSE 1 END,
    cost_micro = o.cost,
    run_at = CASE WHEN {_AGAIN} THEN statement_timestamp() + make_interval(secs => o.delay) ELSE j.run_at END,
    publish_at = CASE WHEN {_AGAIN} THEN statement_timestamp() + make_interval(secs => o.delay) END,
    progress = CASE WHEN o.status = 'succeeded' THEN 1 WHEN o.status = 'queued' THEN NULL ELSE j.progress END,
    note = coalesce(o.note, j.note),
    finished_at = CASE WHEN {_AGAIN} THEN NULL ELSE clock_timestamp() END
FROM unnest(CAST($2 AS uuid[]), CAST($3 AS int[]), CAST($4 AS text[]), CAST($5 AS text[]), CAST($6 AS text[]), CAST($7 AS float8[]),
    CAST($8 AS boolean[]), CAST($9 AS bigint[]), CAST($10 AS text[]))
    AS o(id, attempt, status, result, error, delay, is_attempt, cost, note)
{_MINE}
"""  # noqa: S608 - a constant of this module
# What most ends are, with a third of the parameters.
_SUCCEED = f"""
UPDATE jobs j SET status = 'succeeded', result = CAST(o.result AS jsonb), error = NULL, worker_id = NULL, progress = 1,
    note = coalesce(o.note, j.note), finished_at = clock_timestamp()
FROM unnest(CAST($2 AS uuid[]), CAST($3 AS int[]), CAST($4 AS text[]), CAST($5 AS text[])) AS o(id, attempt, result, note)
{_MINE} RETURNING j.id
"""  # noqa: S608 - a constant of this module
_COUNTED = _FINISH + " RETURNING j.id"


class JobClaims:
    """Claims and ends of attempts. Those of jobs from whose end nothing follows go past SQLAlchemy, in one round trip."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, worker: UUID, ids: Sequence[UUID]) -> list[ClaimedJob]:
        """Those of them that are queued and due are the worker's now. Raises WorkerGivenUp."""
        rows = await self._database.fetch(_CLAIM, worker, list(ids))
        if not rows and not (await self._database.fetch(_IS_KNOWN, worker))[0][0]:
            raise WorkerGivenUp
        return [_claimed(row) for row in rows]

    async def finish(self, worker: UUID, outcomes: Sequence[Outcome]) -> frozenset[UUID]:
        """Write ends from which nothing follows; the jobs for which that counted."""
        outcomes = _in_order(outcomes)
        good = [one for one in outcomes if one.status == "succeeded" and one.cost_micro is None]
        rows: list[tuple[Any, ...]] = []
        if good:
            ids, attempts = [one.job_id for one in good], [one.attempt for one in good]
            notes = [one.note for one in good]
            rows = await self._database.fetch(_SUCCEED, worker, ids, attempts, _results(good), notes)
        if len(good) < len(outcomes):
            others = [one for one in outcomes if one.status != "succeeded" or one.cost_micro is not None]
            rows += await self._database.fetch(_COUNTED, worker, *_columns(others))
        return frozenset([row[0] for row in rows])


def _in_order(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """That in which whoever recovers jobs locks their rows: else the two might wait for each other."""
    return sorted(outcomes, key=lambda one: one.job_id)


def _results(outcomes: Sequence[Outcome]) -> list[str | None]:
    return [one.result.decode() if one.result is not None else None for one in outcomes]


def _columns(outcomes: Sequence[Outcome]) -> tuple[list[Any], ...]:
    return (
        [one.job_id for one in outcomes],
        [one.attempt for one in outcomes],
        [one.status for one in outcomes],
        _results(outcomes),
        [one.error[:2000] if one.error else None for one in outcomes],
        [one.delay_s for one in outcomes],
        [one.is_attempt for one in outcomes],
        [one.cost_micro for one in outcomes],
        [one.note for one in outcomes],
    )


_PLACES = (
    "worker", "ids", "attempts", "statuses", "results", "errors", "delays", "are_attempts", "costs", "notes",
)  # fmt: skip
_FINISH_IN = text(
    re.sub(r"\$(\d+)", lambda found: f":{_PLACES[int(found[1]) - 1]}", f"{_FINISH} RETURNING {ENDED_COLUMNS}")
)


async def finish_in(session: AsyncSession, worker: UUID, outcomes: Sequence[Outcome]) -> list[EndedJob]:
    """Write ends in the session's transaction; the jobs for which that counted, also those that are queued again."""
    values = dict(zip(_PLACES, (worker, *_columns(_in_order(outcomes))), strict=True))
    with translate_errors():
        rows = await session.execute(_FINISH_IN, values)
    return ended_of(rows)


def _claimed(row: tuple[Any, ...]) -> ClaimedJob:
    job_id, name, queue, attempt, most, arguments, submitter, traceparent, waited_s, is_followed = row
    return ClaimedJob(
        job_id, name, queue, attempt, most, arguments.encode(), unpacked_submitter(submitter), traceparent, waited_s, is_followed
    )  # fmt: skip
