from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import AsyncBaseRepository, RepositoryFactory, RepositoryProvider
from app.core.errors import ConfigurationError
from tests.staff import Badge, Person


class PersonRepository(AsyncBaseRepository[Person]):
    def __init__(self, session: AsyncSession) -> None:
        super().__init__(Person, session)

    async def residents(self) -> int:
        return await self.count({"role": "RESIDENT"})


async def test_a_repository_is_made_when_asked_for_and_kept(db: AsyncSession) -> None:
    provider = RepositoryProvider(db)
    badges = provider.get_repository(Badge)
    assert type(badges) is AsyncBaseRepository
    assert (badges.model, badges.session, provider.session) == (Badge, db, db)
    assert provider.get_repository(Badge) is badges
    assert RepositoryProvider(db).get_repository(Badge) is not badges
    assert await badges.get_all() == []


async def test_a_model_may_have_a_repository_of_its_own(db: AsyncSession) -> None:
    factory = RepositoryFactory()
    factory.register(Person, PersonRepository)
    people = RepositoryProvider(db, factory).get_repository(Person)
    assert isinstance(people, PersonRepository)
    await people.create({"name": "Ann"})
    assert await people.residents() == 1
    with pytest.raises(ConfigurationError, match="already"):
        factory.register(Person, PersonRepository)


@pytest.mark.parametrize(
    "make",
    [
        lambda session: AsyncBaseRepository(Badge, session),
        lambda _: AsyncBaseRepository(Person, AsyncSession()),
    ],
)
def test_what_serves_another_model_or_session_is_refused(make: Any) -> None:
    factory = RepositoryFactory()
    factory.register(Person, make)
    with pytest.raises(ConfigurationError, match="serves another"):
        factory.create(Person, AsyncSession())
