"""What becomes of a charge when the work that it was for ends, or is done once more."""

from collections.abc import Mapping, Sequence

from app.builtin.credits.repository import Charge, ChargeRepository, LedgerRepository, NewEntry
from app.core.db import AsyncSession
from app.core.policies import CREDIT, Balance, Debit, FinalCost, InsufficientCredits


async def close_charges(session: AsyncSession, finals: Sequence[FinalCost]) -> dict[str, Balance]:
    """Give back what debits took above their final cost (``f:<key>``), charge what they come to above their estimate (``<key>:more``),
    each once; the balances after it of the accounts that changed.
    """
    wanted = {final.key: final for final in finals}
    charges = await ChargeRepository(session).find(list(wanted))
    changing = [charge.key for charge in charges if _change(charge, wanted[charge.key]) != 0]
    if not changing:
        return {}
    ledger, balances = LedgerRepository(session), dict[str, Balance]()
    more: list[Debit] = []
    for charge in sorted(await ChargeRepository(session).lock(changing), key=lambda one: one.account):
        final = wanted[charge.key]
        change = _change(charge, final)
        if change < 0:
            added = await ledger.add(_refund(charge, -change))
            if added is not None:
                balances[charge.account] = added[1]
        elif change > 0:
            more.append(Debit(charge.account, change, f"{charge.key}:more", final.policy, None))
    if more:
        balances |= await ledger.debit(more)
    return balances


async def repeat_charge(
    session: AsyncSession, key: str, *, under: str, policy: str
) -> tuple[str, Balance] | None:
    """Charge what the debit ``key`` was for once more; None when there is no such debit. Raises InsufficientCredits (402)."""
    charges = await ChargeRepository(session).lock([key])
    if not charges:
        return None
    account, asked = charges[0].account, charges[0].asked
    ledger = LedgerRepository(session)
    balance = (await ledger.balances([account]))[account]
    if balance.micro < asked:
        raise InsufficientCredits(
            "The account's credits do not reach for running this again.",
            policy=policy,
            extensions=_shortage(asked, balance),
        )
    return account, (await ledger.debit([Debit(account, asked, under, policy, None)]))[account]


def _change(charge: Charge, final: FinalCost) -> int:
    """Micro-credits still to be given back (below 0) or charged. What the balance did not reach for was never paid, so it is not given
    back.
    """
    if final.micro > charge.asked:
        return final.micro - charge.asked
    return min(0, final.micro - (charge.paid - charge.refunded))


def _refund(charge: Charge, micro: int) -> NewEntry:
    return NewEntry(
        account=charge.account,
        micro=micro,
        settlement_key=f"f:{charge.key}",
        kind="refund",
        refers_to=charge.id,
    )


def _shortage(asked: int, balance: Balance) -> Mapping[str, int]:
    return {"required": -(-asked // CREDIT), "available": balance.micro // CREDIT}
