"""What operators and other features do with credits. The caller commits."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from app.builtin.accounts.repository import UserRepository
from app.builtin.credits.models import checked_zone
from app.builtin.credits.repository import LedgerRepository, NewEntry
from app.core.db import AsyncSession, InvalidValue
from app.core.errors import Conflict, EntityNotFoundError, Unprocessable
from app.core.policies import CREDIT, Balance, is_policy_name

DEVELOPMENT_CREDITS = 1000


class KeyUsed(Conflict):
    """This settlement key stands for something else in the ledger."""


class RefundTooLarge(Unprocessable):
    """More would be given back than was taken."""


class Posted(NamedTuple):
    """What came into the ledger, or was there before under this key (``is_new`` is False then); ``balance`` is the one after it, or now."""

    id: UUID
    micro: int
    balance: Balance
    is_new: bool


async def grant(
    session: AsyncSession,
    account: str,
    amount: int,
    *,
    key: str | None = None,
    expires_at: datetime | None = None,
    priority: int = 0,
    is_paid: bool = False,
    note: str = "",
    request_id: str | None = None,
) -> Posted:
    """Give ``amount`` whole credits to an account, which is made if there is none.

    ``key`` is unique: granted again under the same key they are granted once; without one this is always a new grant. ``expires_at`` needs
    a time zone. Raises KeyUsed (409) for a key of another grant, Unprocessable (422) for an amount that is not a whole number above 0, an
    ``expires_at`` without a time zone, and when the account would hold more than 2^53 micro-credits.
    """
    if type(amount) is not int or amount < 1:
        raise Unprocessable("A grant is one or more whole credits.")
    if expires_at is not None and expires_at.utcoffset() is None:
        raise Unprocessable("expires_at needs a time zone.")
    entry = NewEntry(
        account=account,
        micro=amount * CREDIT,
        settlement_key=f"g:{key or uuid4()}",
        meta={"note": note} if note else {},
        expires_at=expires_at,
        priority=priority,
        is_paid=is_paid,
        request_id=request_id,
    )
    return await _post(session, entry)


async def refund(
    session: AsyncSession, debit_key: str, micro: int, *, key: str, request_id: str | None = None
) -> Posted:
    """Give back ``micro`` of the debit with this settlement key, for example when a job that was charged has failed.

    ``key`` is unique: given back again under the same key it is given back once. It does not expire. Raises EntityNotFoundError (404) when
    there is no such debit, RefundTooLarge (422) when all refunds together would exceed what it took.
    """
    if micro <= 0:
        raise Unprocessable("A refund must be more than 0.")
    ledger = LedgerRepository(session)
    debit = await ledger.paid(debit_key)
    if debit is None:
        raise EntityNotFoundError("There is no such debit.")
    await ledger.lock(debit.account)
    debit = await ledger.paid(debit_key) or debit
    entry = NewEntry(
        account=debit.account,
        micro=micro,
        settlement_key=f"f:{key}",
        kind="refund",
        refers_to=debit.id,
        request_id=request_id,
    )
    if await ledger.by_key(entry.settlement_key) is None and debit.refunded + micro > debit.micro:
        raise RefundTooLarge(f"At most {debit.micro - debit.refunded} micro-credits can be given back.")
    return await _post(session, entry)


async def _post(session: AsyncSession, entry: NewEntry) -> Posted:
    ledger = LedgerRepository(session)
    await ledger.lock(entry.account)
    try:
        added = await ledger.add(entry)
    except InvalidValue as error:
        raise Unprocessable("The account cannot hold that many credits.") from error
    if added is not None:
        return Posted(added[0], entry.micro, added[1], is_new=True)
    there = await ledger.by_key(entry.settlement_key)
    expected = (entry.account, entry.kind, entry.micro, entry.refers_to)
    if there is None or (there.account_id, there.kind, there.amount_micro, there.refers_to) != expected:
        raise KeyUsed("This key stands for another entry of the ledger.")
    balance = (await ledger.balances([entry.account]))[entry.account]
    return Posted(there.id, entry.micro, balance, is_new=False)


async def set_plan(
    session: AsyncSession, account: str, *, plan: str | None = None, time_zone: str | None = None
) -> None:
    """Put an account on a plan, or its days and months into a time zone; processes follow within 30 seconds.

    Raises Unprocessable (422) for a plan that is no name (``[a-z][a-z0-9_]*``) or a zone that does not exist.
    """
    changes = {}
    if plan is not None:
        if not is_policy_name(plan):
            raise Unprocessable("A plan's name must match [a-z][a-z0-9_]*.")
        changes["plan"] = plan
    if time_zone is not None:
        try:
            changes["time_zone"] = checked_zone(time_zone)
        except ValueError as error:
            raise Unprocessable(str(error)) from error
    ledger = LedgerRepository(session)
    await ledger.lock(account)
    if changes:
        await ledger.set_plan(account, **changes)


async def account_of(session: AsyncSession, email: str) -> str:
    """The account of the user with this address. Raises EntityNotFoundError."""
    user = await UserRepository(session).get_by_email(email)
    if user is None:
        raise EntityNotFoundError("There is no user with this e-mail address.")
    return str(user.id)


async def is_known(session: AsyncSession, account: str) -> bool:
    """Whether there is such an account, or a user who could have it."""
    try:
        user = await UserRepository(session).get(UUID(account))
    except ValueError:
        user = None
    return user is not None or await LedgerRepository(session).state(account) is not None


async def seed_credits(session: AsyncSession, credentials: Mapping[str, str]) -> None:
    """1000 credits for each development user, once."""
    for email in credentials:
        account = await account_of(session, email)
        await grant(session, account, DEVELOPMENT_CREDITS, key=f"seed:{account}", note="Development seed")
