"""A repository against the same statements by hand, in the same kind of session: the client's processor time for one operation."""

from collections.abc import Callable, Mapping
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from app.core.db import AsyncBaseRepository, Database, PaginationParams
from bench.bounds import Bound
from bench.people import Person, PersonCreate, fill_table, row
from bench.turns import Cost, Way, in_turns

ROWS = 2000
LIMIT = 20
OPERATIONS = {"get": 200, "list": 80, "find": 80, "create": 120}
Sessions = Callable[[], AsyncSession]

BOUNDS = tuple(
    bound
    for name in OPERATIONS
    for bound in (
        Bound(f"{name}: repository", f"{name}: by hand", "cpu", most=1.15),
        Bound(f"{name}: repository", f"{name}: bare engine", "cpu"),
    )
)


async def measure(
    database: Database, rounds: int, *, operations: Mapping[str, int] = OPERATIONS
) -> dict[str, list[Cost]]:
    """Three ways for each operation; the third is by hand on SQLAlchemy's own engine and session, without anything of ours."""
    await fill_table(database, ROWS)
    async with database.session() as session:
        ids = list(await session.scalars(select(Person.id)))
    bare = create_async_engine(database.url)
    costs: dict[str, list[Cost]] = {}
    try:
        for name, times in operations.items():
            ways = {
                f"{name}: repository": REPOSITORY[name](database.session, ids),
                f"{name}: by hand": BY_HAND[name](database.session, ids),
                f"{name}: bare engine": BY_HAND[name](
                    lambda: AsyncSession(bare, expire_on_commit=False), ids
                ),
            }
            costs |= await in_turns(ways, rounds=rounds, operations=times)
    finally:
        await bare.dispose()
    return costs


def _repository_get(sessions: Sessions, ids: list[UUID]) -> Way:
    async def get(number: int) -> Person | None:
        async with sessions() as session:
            return await AsyncBaseRepository(Person, session).get_by_id(ids[number % ROWS])

    return get


def _get_by_hand(sessions: Sessions, ids: list[UUID]) -> Way:
    async def get(number: int) -> Person | None:
        async with sessions() as session:
            statement = select(Person).where(Person.id == ids[number % ROWS])
            return (await session.execute(statement)).scalar_one_or_none()

    return get


def _repository_list(sessions: Sessions, _ids: list[UUID]) -> Way:
    async def page(number: int) -> object:
        async with sessions() as session:
            people = AsyncBaseRepository(Person, session)
            return await people.get_paginated(PaginationParams(_skip(number), LIMIT), order_by="-created_at")

    return page


def _list_by_hand(sessions: Sessions, _ids: list[UUID]) -> Way:
    async def page(number: int) -> object:
        async with sessions() as session:
            statement = select(Person).order_by(Person.created_at.desc(), Person.id.desc())
            found = await session.execute(statement.offset(_skip(number)).limit(LIMIT))
            data = found.scalars().all()
            return data, await session.scalar(select(func.count()).select_from(Person))

    return page


def _repository_find(sessions: Sessions, _ids: list[UUID]) -> Way:
    async def find(_number: int) -> object:
        async with sessions() as session:
            wanted = {"role": "RESIDENT", "is_active": True}
            people = AsyncBaseRepository(Person, session)
            return await people.get_by_filters(wanted, order_by="-created_at", limit=LIMIT)

    return find


def _find_by_hand(sessions: Sessions, _ids: list[UUID]) -> Way:
    async def find(_number: int) -> object:
        async with sessions() as session:
            statement = select(Person).where(Person.role == "RESIDENT", Person.is_active == True)  # noqa: E712 - SQL's
            ordered = statement.order_by(Person.created_at.desc(), Person.id.desc()).limit(LIMIT)
            return (await session.execute(ordered)).scalars().all()

    return find


def _repository_create(sessions: Sessions, _ids: list[UUID]) -> Way:
    async def create(number: int) -> Person:
        async with sessions() as session:
            people = AsyncBaseRepository(Person, session)
            person = await people.create(PersonCreate(**row(number)))
            await people.commit()
            return person

    return create


def _create_by_hand(sessions: Sessions, _ids: list[UUID]) -> Way:
    async def create(number: int) -> Person:
        async with sessions() as session:
            person = Person(**PersonCreate(**row(number)).model_dump())
            session.add(person)
            await session.flush()
            await session.commit()
            return person

    return create


def _skip(number: int) -> int:
    return number % 50 * LIMIT


Making = dict[str, Callable[[Sessions, list[UUID]], Way]]
REPOSITORY: Making = {
    "get": _repository_get,
    "list": _repository_list,
    "find": _repository_find,
    "create": _repository_create,
}
BY_HAND: Making = {
    "get": _get_by_hand,
    "list": _list_by_hand,
    "find": _find_by_hand,
    "create": _create_by_hand,
}
