import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import (
    AsyncBaseRepository,
    ConstraintViolated,
    Database,
    DatabaseUnavailable,
    UnitOfWork,
    session_scope,
)
from app.core.errors import ConfigurationError
from tests.staff import Badge, Person


@pytest.fixture
async def session(staff: None, database: Database) -> AsyncIterator[AsyncSession]:
    """A session that really commits; the tables are emptied afterwards."""
    async with database.session() as session:
        yield session
        await session.rollback()
    async with database.session() as session:
        await session.execute(text("TRUNCATE staff.persons, staff.badges CASCADE"))
        await session.commit()


async def stored(database: Database) -> list[int]:
    """The ranks that another session sees."""
    async with database.session() as other:
        badges = await AsyncBaseRepository(Badge, other).get_all(order_by="rank")
        return [badge.rank or 0 for badge in badges]


async def create_and_raise(session: AsyncSession, rank: int, error: type[BaseException]) -> None:
    async with UnitOfWork(session):
        await AsyncBaseRepository(Badge, session).create({"rank": rank})
        raise error


async def test_all_is_kept_at_the_end_and_nothing_before(session: AsyncSession, database: Database) -> None:
    async with UnitOfWork(session) as uow:
        badges = AsyncBaseRepository(Badge, session)
        uow.register_repository("badges", badges)
        assert uow.repository("badges") is badges
        await badges.create({"rank": 1})
        await badges.create({"rank": 2})
        assert await stored(database) == []
    assert await stored(database) == [1, 2]


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_an_error_undoes_everything(
    session: AsyncSession, database: Database, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        await create_and_raise(session, 1, error)
    assert await stored(database) == []
    async with UnitOfWork(session):
        await AsyncBaseRepository(Badge, session).create({"rank": 2})
    assert await stored(database) == [2]


class TestSteps:
    async def test_results_are_kept_by_name(self, session: AsyncSession, database: Database) -> None:
        badges = AsyncBaseRepository(Badge, session)
        async with UnitOfWork(session) as uow:
            first = await uow.step("first", lambda: badges.create({"rank": 1}))
            await uow.step("second", lambda: badges.create({"rank": (first.rank or 0) + 1}))
        assert list(uow.results) == ["first", "second"]
        assert await stored(database) == [1, 2]

    async def test_the_first_that_fails_is_named_and_condemns_the_whole(
        self, session: AsyncSession, database: Database
    ) -> None:
        people, badges = AsyncBaseRepository(Person, session), AsyncBaseRepository(Badge, session)
        async with UnitOfWork(session) as uow:
            await uow.step("badge", lambda: badges.create({"rank": 1}))
            await uow.step("person", lambda: people.create({"name": "Ann"}))
            with pytest.raises(ConstraintViolated) as refusal:
                await uow.step("again", lambda: people.create({"name": "Ann"}))
            with pytest.raises(ConfigurationError, match="failed in step 'again'"):
                await uow.step("later", lambda: badges.create({"rank": 2}))
            with pytest.raises(ConfigurationError, match="failed in step 'again'"):
                await uow.commit()
        assert (uow.failed_step, list(uow.results)) == ("again", ["badge", "person"])
        assert "in step 'again'" in refusal.value.__notes__[0]
        assert await stored(database) == []

    async def test_what_a_step_left_unsent_is_refused_in_it(self, session: AsyncSession) -> None:
        async def add() -> None:
            session.add_all([Person(name="Ann"), Person(name="Ann")])

        async with UnitOfWork(session) as uow:
            with pytest.raises(ConstraintViolated):
                await uow.step("add", add)
        assert uow.failed_step == "add"

    async def test_a_name_is_used_once(self, session: AsyncSession) -> None:
        badges = AsyncBaseRepository(Badge, session)
        async with UnitOfWork(session) as uow:
            await uow.step("one", badges.count)
            with pytest.raises(ConfigurationError, match="'one' before"):
                await uow.step("one", badges.count)


class TestSavepoints:
    async def test_a_part_may_fail_and_the_rest_is_kept(
        self, session: AsyncSession, database: Database
    ) -> None:
        people, badges = AsyncBaseRepository(Person, session), AsyncBaseRepository(Badge, session)
        async with UnitOfWork(session) as uow:
            await badges.create({"rank": 1})
            await people.create({"name": "Ann"})

            async def create_both() -> None:
                async with uow.savepoint():
                    await badges.create({"rank": 2})
                    await people.create({"name": "Ann"})

            with pytest.raises(ConstraintViolated):
                await create_both()
            async with uow.savepoint():
                await badges.create({"rank": 3})
        assert await stored(database) == [1, 3]

    async def test_one_inside_another_is_a_part_of_it(
        self, session: AsyncSession, database: Database
    ) -> None:
        badges = AsyncBaseRepository(Badge, session)
        async with UnitOfWork(session) as outer:
            async with UnitOfWork(session) as inner:
                await badges.create({"rank": 1})
                with pytest.raises(ConfigurationError, match="outer"):
                    await inner.commit()
                with pytest.raises(ConfigurationError, match="raising"):
                    await inner.rollback()
            assert await stored(database) == []
            with pytest.raises(ZeroDivisionError):
                await create_and_raise(session, 2, ZeroDivisionError)
            await badges.create({"rank": 3})
            await outer.commit()
            assert await stored(database) == [1, 3]
            await badges.create({"rank": 4})
            await outer.rollback()
        assert await stored(database) == [1, 3]


class TestWrongUse:
    async def test_a_repository_of_another_session_is_no_part_of_it(
        self, session: AsyncSession, database: Database
    ) -> None:
        async with database.session() as other, UnitOfWork(session) as uow:
            with pytest.raises(ConfigurationError, match="another session"):
                uow.register_repository("badges", AsyncBaseRepository(Badge, other))

    async def test_names_are_taken_once_and_known(self, session: AsyncSession) -> None:
        async with UnitOfWork(session) as uow:
            uow.register_repository("badges", AsyncBaseRepository(Badge, session))
            with pytest.raises(ConfigurationError, match="already"):
                uow.register_repository("badges", AsyncBaseRepository(Badge, session))
            with pytest.raises(ConfigurationError, match="no repository 'people'"):
                uow.repository("people")

    async def test_it_is_used_once(self, session: AsyncSession) -> None:
        uow = UnitOfWork(session)
        async with uow:
            pass
        with pytest.raises(ConfigurationError, match="once"):
            async with uow:
                pass


async def test_a_backend_that_dies_is_an_outage_and_the_pool_stays_healthy(
    session: AsyncSession, database: Database
) -> None:
    async def lose() -> None:
        async with UnitOfWork(session):
            badges = AsyncBaseRepository(Badge, session)
            await badges.create({"rank": 1})
            backend = await session.scalar(text("SELECT pg_backend_pid()"))
            async with database.connect() as other:
                await other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})
            await badges.create({"rank": 2})

    with pytest.raises(DatabaseUnavailable):
        await lose()
    assert database.pool_status().checked_out == 0
    assert await stored(database) == []
    async with UnitOfWork(session):
        await AsyncBaseRepository(Badge, session).create({"rank": 3})
    assert await stored(database) == [3]


async def test_on_a_durable_endpoint_the_route_commits_and_savepoints_work(
    staff: None, database: Database
) -> None:
    with session_scope(database) as scope:
        scope.guard()
        session = scope.open()
        try:
            with pytest.raises(ConfigurationError, match="durability"):
                async with UnitOfWork(session):
                    await AsyncBaseRepository(Badge, session).create({"rank": 1})
            async with UnitOfWork(session).savepoint():
                await AsyncBaseRepository(Badge, session).create({"rank": 2})
            assert await AsyncBaseRepository(Badge, session).count() == 1
            await scope.rollback()
        finally:
            await session.close()
    assert await stored(database) == []
