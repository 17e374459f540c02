"""Jobs whose rows have just ended, as those who act on that want them."""

from collections.abc import Iterable
from typing import Any

from app.builtin.jobs.repository.submitters import unpacked_submitter
from app.core.jobs import EndedJob

ENDED_COLUMNS = """j.id, j.name, j.status, CAST(j.submitter AS text) AS submitter, j.is_charged, j.charge_no, j.cost_micro, j.webhook_id,
    CAST(j.result AS text) AS result, j.error"""
"""What a statement over ``jobs j`` returns for ``ended_of``."""


def ended_of(rows: Iterable[Any]) -> list[EndedJob]:
    """Rows of ended jobs, as those who act on them want them."""
    return [
        EndedJob(
            row.id,
            row.name,
            row.status,
            unpacked_submitter(row.submitter),
            row.is_charged,
            row.cost_micro,
            row.webhook_id,
            row.result.encode() if row.result is not None else None,
            row.error,
            row.charge_no,
        )
        for row in rows
    ]
