import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import User
from app.builtin.accounts.repository import EmailTaken, UserRepository
from app.core.db import Database


def user(email: str = "ann@example.com") -> User:
    return User(email=email, password_hash="not a hash")


class TestAdd:
    async def test_a_new_user_has_an_id_dates_and_empty_rights(self, db_session: AsyncSession) -> None:
        added = await UserRepository(db_session).add(user())
        await db_session.refresh(added)
        assert added.id.version == 7
        assert added.created_at == added.updated_at
        assert added.created_at.tzinfo is not None
        assert (added.roles, added.scopes, added.is_active) == ([], [], True)

    @pytest.mark.parametrize("email", ["ann@example.com", "ANN@example.com", " Ann@Example.Com "])
    async def test_an_address_in_another_spelling_is_taken_and_the_session_stays_usable(
        self, db_session: AsyncSession, email: str
    ) -> None:
        users = UserRepository(db_session)
        await users.add(user())
        with pytest.raises(EmailTaken) as refused:
            await users.add(user(email))
        assert refused.value.status == 409
        assert "ann" not in str(refused.value.detail).lower()
        await users.add(user("bob@example.com"))
        assert await db_session.scalar(text("SELECT count(*) FROM users")) == 2

    async def test_of_two_at_once_one_is_added_and_one_refused(
        self, database: Database, clean_database: None
    ) -> None:
        async def add() -> bool:
            async with database.session() as session:
                try:
                    await UserRepository(session).add(user())
                except EmailTaken:
                    return False
                await session.commit()
                return True

        assert sorted(await asyncio.gather(add(), add())) == [False, True]


class TestGet:
    async def test_a_user_is_found_by_id_and_by_any_spelling_of_the_address(
        self, db_session: AsyncSession
    ) -> None:
        users = UserRepository(db_session)
        added = await users.add(user("Ann@Example.com"))
        assert await users.get(added.id) is added
        for email in ("ann@example.com", "ANN@EXAMPLE.COM", " Ann@Example.com"):
            assert await users.get_by_email(email) is added

    async def test_nobody_is_found_under_an_id_or_address_that_does_not_exist(
        self, db_session: AsyncSession
    ) -> None:
        users = UserRepository(db_session)
        assert await users.get(uuid4()) is None
        for email in ("nobody@example.com", "", "' OR 1=1 --", "%"):
            assert await users.get_by_email(email) is None

    async def test_the_look_up_by_address_uses_the_unique_index(self, db_session: AsyncSession) -> None:
        await db_session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = await db_session.scalars(text("EXPLAIN SELECT * FROM users WHERE email_key = 'a'"))
        assert "uq_users_email_key" in "\n".join(plan)


class TestLock:
    async def test_he_is_read_anew_and_nobody_changes_or_locks_him_meanwhile(
        self, database: Database, clean_database: None
    ) -> None:
        async with database.session() as one, database.session() as two:
            users = UserRepository(one)
            added = await users.add(user())
            await one.commit()
            await two.execute(text("UPDATE users SET roles = '{admin}'"))
            await two.commit()
            assert added.roles == []
            assert await users.lock(added.id) is added
            assert added.roles == ["admin"]
            with pytest.raises(DBAPIError, match="could not obtain lock"):
                await two.execute(text("SELECT 1 FROM users FOR SHARE NOWAIT"))

    async def test_nobody_is_locked_under_an_id_that_does_not_exist(self, db_session: AsyncSession) -> None:
        assert await UserRepository(db_session).lock(uuid4()) is None


class TestRelease:
    async def test_the_connection_goes_back_to_the_pool_and_what_was_read_stays(
        self, database: Database, clean_database: None
    ) -> None:
        async with database.session() as session:
            session.add(user())
            await session.commit()
        async with database.session() as session:
            users = UserRepository(session)
            found = await users.get_by_email("ann@example.com")
            assert database.pool_status().checked_out == 1
            await users.release()
            assert database.pool_status().checked_out == 0
            assert found is not None
            assert found.email == "ann@example.com"
