"""What the development users have to spend."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import User
from app.builtin.credits.repository import LedgerRepository
from app.registry import development_users, seed_all


async def test_each_development_user_gets_a_thousand_once(db_session: AsyncSession) -> None:
    for _ in range(2):
        await seed_all(db_session, dict.fromkeys(development_users(), "a password of theirs"))
    ids = (await db_session.scalars(select(User.id))).all()
    balances = await LedgerRepository(db_session).balances([str(user) for user in ids])
    assert {balance.micro for balance in balances.values()} == {1_000_000_000}
    assert len(balances) == len(development_users())
