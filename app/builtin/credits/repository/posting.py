"""Charges on their way into the ledger: the statement that posts them, and a whole batch of them in one round trip."""

from collections.abc import Iterable, Sequence
from typing import Any

import uuid_utils

from app.core.db import Database
from app.core.policies import Balance, Debit

# One statement, one round trip. ``account`` waits for the rows' locks and then sees their newest state, the rest of the statement sees what
# was there when it began. So a charge that another transaction posted in between is taken for a new one, until the unique key refuses it.
_POST = """
WITH wanted AS (
    SELECT * FROM unnest(CAST($1 AS uuid[]), CAST($2 AS text[]), CAST($3 AS bigint[]), CAST($4 AS text[]),
        CAST($5 AS text[]), CAST($6 AS text[]), CAST($7 AS text[]), CAST($8 AS text[]), CAST($9 AS float8[]))
        WITH ORDINALITY AS w(id, account, micro, key, policy, request, before, after, within, place)
), account AS (
    SELECT id, balance_micro, version FROM credit_accounts WHERE id = ANY(CAST($2 AS text[])) ORDER BY id FOR NO KEY UPDATE
), fresh AS (
    SELECT w.*, a.version + row_number() OVER mine AS version,
        CAST(greatest(0, least(w.micro, a.balance_micro - (sum(w.micro) OVER mine - w.micro))) AS bigint) AS covered
    FROM wanted w JOIN account a ON a.id = w.account
    WHERE NOT EXISTS (SELECT FROM credit_ledger l WHERE l.settlement_key = w.key)
        AND NOT EXISTS (SELECT FROM credit_ledger l WHERE l.settlement_key IN (w.before, w.after)
            AND l.at > clock_timestamp() - make_interval(secs => w.within))
    WINDOW mine AS (PARTITION BY w.account ORDER BY w.place)
), entry AS (
    INSERT INTO credit_ledger (id, account_id, version, kind, amount_micro, overage_micro, settlement_key, request_id, meta)
    SELECT id, account, version, 'debit', -covered, micro - covered, key, request, jsonb_build_object('policy', policy) FROM fresh
    {on_conflict} RETURNING account_id, amount_micro, version
), change AS (
    UPDATE credit_accounts a SET balance_micro = a.balance_micro + e.amount, version = e.last, updated_at = now()
    FROM (SELECT account_id, CAST(sum(amount_micro) AS bigint) AS amount, max(version) AS last FROM entry GROUP BY account_id) e
    WHERE a.id = e.account_id RETURNING a.id, a.balance_micro, a.version
)
SELECT a.id, coalesce(c.balance_micro, a.balance_micro), coalesce(c.version, a.version) FROM account a LEFT JOIN change c ON c.id = a.id
"""
POST_NEW = _POST.format(on_conflict="ON CONFLICT (settlement_key) DO NOTHING")
"""Leaves out what was posted in between. Right for one charge of an account; several of one need its lock before the statement begins, as
those after the one that is left out were counted as if it had been posted now.
"""
_POST_ALL = _POST.format(on_conflict="")


def post_values(debits: Sequence[Debit]) -> tuple[list[Any], ...]:
    """The parameters of the statement, in order. Ids are text: the driver reads that quicker than objects are made."""
    uuid7 = uuid_utils.uuid7
    return (
        [uuid7().hex for _ in debits],
        [debit.account for debit in debits],
        [debit.micro for debit in debits],
        [debit.settlement_key for debit in debits],
        [debit.policy for debit in debits],
        [debit.request_id for debit in debits],
        [debit.twins[0] if debit.twins else None for debit in debits],
        [debit.twins[1] if debit.twins else None for debit in debits],
        [debit.within_s for debit in debits],
    )


def balances_of(rows: Iterable[Any]) -> dict[str, Balance]:
    """The statement's rows: the balances of the accounts that exist."""
    return {account: Balance(micro, version) for account, micro, version in rows}


def once_each(debits: Iterable[Debit]) -> list[Debit]:
    """The charges without those that come twice, under one key or under twins, by account."""
    found: dict[str, Debit] = {}
    for debit in debits:
        if not any(twin in found for twin in debit.twins or ()):
            found[debit.settlement_key] = debit
    return sorted(found.values(), key=_by_account)


async def post_at_once(database: Database, debits: Sequence[Debit]) -> dict[str, Balance]:
    """Post charges of accounts that exist, all or none; the balances after them, by account. Those of other accounts are not posted.

    One round trip, a transaction of its own. Not for reruns, whose twin may be posted at this very moment: they need a lock before. What is
    in the ledger changes nothing. Raises ``ConstraintViolated`` when another transaction
    posts one of them at the same moment: then go the way of ``LedgerRepository.debit``.
    """
    return balances_of(await database.fetch(_POST_ALL, *post_values(once_each(debits))))


def _by_account(debit: Debit) -> str:
    return debit.account
