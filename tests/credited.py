"""Accounts with credits, for tests of what costs some."""

from sqlalchemy import text

from app.builtin.credits.service import grant, provide_credits
from app.core.db import Database, get_db_context
from app.registry import Feature

CREDITS = Feature(name="credits", provides=provide_credits)


async def give(database: Database, account: str, amount: int) -> None:
    """Put credits into the account's ledger; the store hears of it when it is asked for the balance."""
    async with get_db_context(database) as session:
        await grant(session, account, amount)


async def balance_of(database: Database, account: str) -> int:
    """Micro-credits, as the ledger has them; checked against the sum of its entries."""
    query = text(
        "SELECT coalesce((SELECT balance_micro FROM credit_accounts WHERE id = :id), 0),"
        " coalesce((SELECT sum(amount_micro) FROM credit_ledger WHERE account_id = :id), 0)"
    )
    async with get_db_context(database) as session:
        balance, total = (await session.execute(query, {"id": account})).one()
    assert balance == total
    return int(balance)
