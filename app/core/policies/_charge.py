"""What admitted work is charged in the end: its debit, and the debit that is put off while the hold stays."""

from functools import partial

from app.core.policies._admission import Admission
from app.core.policies._holds import HoldBook
from app.core.policies._keys import Caller
from app.core.policies._providers import CreditLedger, Debit
from app.core.policies._terms import twins_of


def debit_of(
    admission: Admission,
    caller: Caller,
    actual: int | None,
    request_id: str | None,
    *,
    key: str | None = None,
) -> Debit:
    """The charge for work that credits are held for: ``actual`` micro-credits, or what was held when it is None.

    key: the name that the charge was given (``charge_as``). It has no twins then: whoever runs again begins something of another name.
    """
    hold, principal = admission.ask.price, caller.principal
    assert hold is not None and principal is not None  # noqa: S101, PT018 - credits are held for accounts only
    micro = hold.micro if actual is None else actual
    debit = Debit(principal.id, micro, key or hold.settlement_key, admission.plan.policy, request_id)
    claim = admission.ask.claim
    if claim is None or key is not None:
        return debit
    twins = twins_of(hold.settlement_key)
    return debit._replace(twins=twins, within_s=claim.retention_ms / 1000, is_rerun=admission.generation > 1)


def debit_later(ledger: CreditLedger, holds: HoldBook, admission: Admission, debit: Debit) -> None:
    """Hand it to the ledger's next batch, which frees the hold. Settle the rest with ``keep_hold``."""
    ledger.debit_later(debit, partial(holds.free_soon, debit.account, admission.rid))


def without_price(admission: Admission) -> Admission:
    """The same, to be settled after what was paid with was given back."""
    answer = admission.answer
    return admission._replace(
        ask=admission.ask._replace(hold=None, allowances=()),
        answer=answer._replace(quotas=()) if answer is not None else None,
        costs=tuple(0 for _ in admission.costs),
    )
