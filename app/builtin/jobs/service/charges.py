"""What a job costs its submitter in the end: the price was debited with the job, and what is too much is given back at its end."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from uuid import UUID

import structlog

from app.builtin.jobs.repository import count_charge
from app.core.db import AsyncSession, after_commit
from app.core.jobs import EndedJob
from app.core.policies import Balance, CreditLedger, FinalCost, HoldBook
from app.core.valkey import StoreError

_log = structlog.get_logger(__name__)


def charge_key(job_id: UUID, number: int = 0) -> str:
    """What the ledger knows a job's charge by: its id, and the number of the charge when it was charged again."""
    return f"{job_id}:{number}" if number else str(job_id)


class JobCharges:
    """Follows the ends of jobs that are charged (``Follower``). ``ledger`` finds what keeps credits; without one nothing is charged, so
    nothing is given back. ``book`` tells the store of new balances once they are committed; if that fails, the reconciler does it.
    """

    def __init__(self, ledger: Callable[[], CreditLedger | None], book: HoldBook) -> None:
        self._ledger = ledger
        self._book = book

    async def __call__(self, session: AsyncSession, ended: Sequence[EndedJob]) -> None:
        """A job that failed, died or was cancelled costs nothing; one that succeeded what it said itself, or what was charged."""
        finals = [final for job in ended if (final := _final_cost(job)) is not None]
        if not finals:
            return
        ledger = self._ledger()
        if ledger is None:
            _log.error("jobs.charges_left", jobs=[final.key for final in finals][:20], count=len(finals))
            return
        self._tell(session, await ledger.close(session, finals))

    async def charge_again(self, session: AsyncSession, job_id: UUID) -> None:
        """Take the price of a job once more, in the transaction that has it run again: what was charged for it the last time, under
        ``<job id>:<n>``. Nothing for a job that nobody pays for. Raises InsufficientCredits (402).

        Only for a job whose last charge was given back: one that failed, died or was cancelled.
        """
        ledger = self._ledger()
        counted = await count_charge(session, job_id) if ledger is not None else None
        if ledger is None or counted is None:
            return
        charged = await ledger.repeat(
            session,
            charge_key(job_id, counted.number - 1),
            under=charge_key(job_id, counted.number),
            policy=f"job_{counted.name}",
        )
        if charged is not None:
            self._tell(session, dict([charged]))

    def _tell(self, session: AsyncSession, balances: Mapping[str, Balance]) -> None:
        for account, balance in balances.items():
            after_commit(session, partial(self._sync, account, balance))

    async def _sync(self, account: str, balance: Balance) -> None:
        try:
            await self._book.sync(account, balance)
        except StoreError as error:  # The reconciler comes within a minute.
            _log.warning("credits.not_told", error=type(error).__name__)


def _final_cost(job: EndedJob) -> FinalCost | None:
    """None: it stays as it was charged."""
    if not job.is_charged:
        return None
    key, policy = charge_key(job.id, job.charge_no), f"job_{job.name}"
    if job.status != "succeeded":
        return FinalCost(key, 0, policy)
    return FinalCost(key, job.cost_micro, policy) if job.cost_micro is not None else None
