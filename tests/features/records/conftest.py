from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import User

AddUser = Callable[[AsyncSession], Awaitable[UUID]]


@pytest.fixture
def add_user() -> AddUser:
    """Makes users, who own records; nobody signs in with them."""
    made = 0

    async def add(session: AsyncSession) -> UUID:
        nonlocal made
        made += 1
        user = User(email=f"owner{made}@example.com", password_hash="none")
        session.add(user)
        await session.flush()
        return user.id

    return add
