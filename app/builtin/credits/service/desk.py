"""What callers may see of their credits, and what an administrator may give."""

from datetime import UTC, datetime

from app.builtin.credits.repository import AccountState, Entry, LedgerRepository
from app.builtin.credits.schemas import (
    CreditsOut,
    EntryOut,
    GrantCreate,
    GrantOut,
    LedgerPage,
    LedgerQuery,
    Usage,
    encode_cursor,
)
from app.builtin.credits.service.administration import grant, is_known
from app.builtin.credits.service.ledger import NOTHING
from app.builtin.credits.service.upkeep import Upkeep
from app.core.db import AsyncSession, after_commit
from app.core.errors import EntityNotFoundError, Unprocessable
from app.core.policies import CREDIT, HoldBook, window_at
from app.core.resilience import Clock
from app.core.valkey import StoreError


class CreditDesk:
    """Requests about credits, in the request's session."""

    def __init__(self, book: HoldBook, upkeep: Upkeep, clock: Clock) -> None:
        self._book = book
        self._upkeep = upkeep
        self._clock = clock

    async def overview(self, session: AsyncSession, account: str) -> CreditsOut:
        """The account; an owner who was never given anything has nothing."""
        ledger = LedgerRepository(session)
        state = await ledger.state(account) or AccountState(NOTHING)
        day, month = (self._start(per, state.time_zone) for per in ("day", "month"))
        today, this_month = await ledger.spent(account, day=day, month=month)
        return CreditsOut(
            balance=state.balance.micro // CREDIT,
            balance_micro=state.balance.micro,
            held_micro=await self._held(account),
            plan=state.plan,
            time_zone=state.time_zone,
            usage=Usage(today_micro=today, month_micro=this_month),
        )

    def _start(self, per: str, zone: str) -> datetime:
        period = window_at(int(self._clock.time() * 1000), "day" if per == "day" else "month", zone)
        return datetime.fromtimestamp(period.start_ms / 1000, UTC)

    async def _held(self, account: str) -> int | None:
        try:
            return await self._book.held(account)
        except StoreError:
            return None

    async def history(self, session: AsyncSession, account: str, query: LedgerQuery) -> LedgerPage:
        """A page of the account's ledger, and where the next one starts if there is one."""
        found = await LedgerRepository(session).page(account, limit=query.limit + 1, before=query.before)
        items, more = found[: query.limit], len(found) > query.limit
        return LedgerPage(
            items=[_shown(entry) for entry in items],
            next_cursor=encode_cursor(items[-1].version) if more else None,
        )

    async def grant(
        self, session: AsyncSession, new: GrantCreate, *, by: str, key: str | None, request_id: str | None
    ) -> GrantOut:
        """Give credits, and tell the store once that is committed. ``by`` is who gives: keys of two administrators do not meet.

        Raises EntityNotFoundError for an account and user that nobody knows.
        """
        if new.expires_at is not None and new.expires_at.timestamp() <= self._clock.time():
            raise Unprocessable("expires_at is in the past.")
        if not await is_known(session, new.account):
            raise EntityNotFoundError("There is no user with this id.")
        posted = await grant(
            session,
            new.account,
            new.amount,
            key=None if key is None else f"{by}:{key}",
            expires_at=new.expires_at,
            priority=new.priority,
            is_paid=new.is_paid,
            note=new.note,
            request_id=request_id,
        )
        after_commit(session, lambda: self._upkeep.refresh(new.account))
        return GrantOut(
            id=posted.id,
            account=new.account,
            amount_micro=posted.micro,
            balance=posted.balance.micro // CREDIT,
            balance_micro=posted.balance.micro,
        )


def _shown(entry: Entry) -> EntryOut:
    return EntryOut(
        id=entry.id,
        kind=entry.kind,
        amount_micro=entry.amount_micro,
        overage_micro=entry.overage_micro,
        policy=entry.meta.get("policy"),
        note=entry.meta.get("note"),
        request_id=entry.request_id,
        at=entry.at,
    )
