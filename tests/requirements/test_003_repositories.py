"""Document 003: repositories, the unit of work, the factory, and the helpers for queries."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import Select, select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import (
    AsyncBaseRepository,
    BulkOperations,
    ConstraintViolated,
    Database,
    FilterHelper,
    InvalidLimit,
    PaginationHelper,
    PaginationParams,
    RepositoryFactory,
    RepositoryProvider,
    Search,
    SortHelper,
    UnitOfWork,
)
from tests.staff import Assignment, Certification, Person, Template, stored_persons


class PersonCreate(BaseModel):
    name: str
    role: str = "RESIDENT"


class PersonUpdate(BaseModel):
    name: str | None = None
    role: str | None = None


@pytest.fixture
async def persons(session: AsyncSession) -> list[Person]:
    """Three residents and a teacher; one resident is not active."""
    rows: list[dict[str, Any]] = [
        {"id": "id1", "name": "John Doe", "email": "doe@example.com"},
        {"id": "id2", "name": "Jane", "email": "JOHNSON@example.com"},
        {"id": "id3", "name": "Eve", "is_active": False},
        {"id": "id4", "name": "Bob", "role": "FACULTY"},
    ]
    made = await AsyncBaseRepository(Person, session).bulk_create(rows)
    await session.commit()
    return made


async def test_003_01_rows_are_created_read_changed_and_deleted(
    session: AsyncSession, staff: Database
) -> None:
    repo = AsyncBaseRepository(Person, session)
    new_person = await repo.create(PersonCreate(name="John Doe"))
    assert await stored_persons(staff) == []
    await repo.commit()
    assert await stored_persons(staff) == ["John Doe"]

    person = await repo.get_by_id(new_person.id)
    assert person is new_person
    assert await repo.get_by_id("person-123") is None

    updated = await repo.update(person, PersonUpdate(name="Jane Doe"))
    await repo.commit()
    assert (updated.name, updated.role) == ("Jane Doe", "RESIDENT")
    assert await stored_persons(staff) == ["Jane Doe"]

    await repo.delete(person)
    await repo.commit()
    assert await stored_persons(staff) == []


async def test_003_02_a_list_comes_in_pages(session: AsyncSession) -> None:
    repo = AsyncBaseRepository(Person, session)
    await repo.bulk_create([{"name": f"{number:02}"} for number in range(45)])
    pagination = PaginationParams(skip=0, limit=20)
    result = await repo.get_paginated(pagination, order_by="name")
    assert [person.name for person in result.data] == [f"{number:02}" for number in range(20)]
    assert (result.total, result.pages) == (45, 3)
    newest = await repo.get_paginated(pagination, order_by="-created_at")
    assert len(newest.data) == 20
    last = await repo.get_paginated(PaginationParams(skip=40, limit=20), order_by="-name")
    assert [person.name for person in last.data] == ["04", "03", "02", "01", "00"]


async def test_003_03_rows_are_found_by_filters(session: AsyncSession, persons: list[Person]) -> None:
    repo = AsyncBaseRepository(Person, session)
    results = await repo.get_by_filters({"role": "RESIDENT"})
    assert {person.id for person in results} == {"id1", "id2", "id3"}
    results = await repo.get_by_filters({"role": "RESIDENT", "is_active": True})
    assert {person.id for person in results} == {"id1", "id2"}
    first = await repo.get_first_by_filters({"role": "FACULTY"})
    assert first is not None
    assert first.id == "id4"


async def assign(session: AsyncSession) -> None:
    """Two assignments and a certificate for one person."""
    session.add(Template(id=1, title="Night"))
    await session.flush()
    rows = [{"person_id": "id1", "template_id": 1}] * 2
    await BulkOperations.bulk_insert(session, Assignment, rows)
    await BulkOperations.bulk_insert(session, Certification, [{"person_id": "id1", "number": 1}])
    session.expunge_all()


async def test_003_04_relationships_are_loaded_when_named(
    session: AsyncSession, persons: list[Person]
) -> None:
    await assign(session)
    repo = AsyncBaseRepository(Person, session)
    person = await repo.get_by_id_with_relations("id1", relations=["assignments", "certifications"])
    assert person is not None
    assert (len(person.assignments), len(person.certifications)) == (2, 1)
    session.expunge_all()
    pagination = PaginationParams(skip=0, limit=2)
    listed = await repo.get_all_with_relations(relations=["assignments"], pagination=pagination)
    assert [len(each.assignments) for each in listed] == [2, 0]
    with pytest.raises(InvalidRequestError, match="raise"):
        _ = listed[0].certifications


async def test_003_05_many_rows_are_made_and_deleted_at_once(session: AsyncSession, staff: Database) -> None:
    repo = AsyncBaseRepository(Person, session)
    new_persons = await repo.bulk_create(
        [PersonCreate(name="Person 1"), PersonCreate(name="Person 2"), PersonCreate(name="Person 3")]
    )
    await repo.commit()
    assert await stored_persons(staff) == ["Person 1", "Person 2", "Person 3"]
    deleted_count = await repo.bulk_delete([new_persons[0].id, new_persons[2].id, "id3"])
    await repo.commit()
    assert deleted_count == 2
    assert await stored_persons(staff) == ["Person 2"]


async def assign_together(session: AsyncSession, template_id: int) -> None:
    async with UnitOfWork(session) as uow:
        person_repo = AsyncBaseRepository(Person, session)
        assignment_repo = AsyncBaseRepository(Assignment, session)

        uow.register_repository("persons", person_repo)
        uow.register_repository("assignments", assignment_repo)

        person = await person_repo.create(PersonCreate(name="Ann"))
        await assignment_repo.create({"person_id": person.id, "template_id": template_id})


async def test_003_06_a_unit_of_work_keeps_all_or_nothing(session: AsyncSession, staff: Database) -> None:
    with pytest.raises(ConstraintViolated):
        await assign_together(session, template_id=1)  # there is no template yet
    assert await stored_persons(staff) == []
    await AsyncBaseRepository(Template, session).create({"id": 1, "title": "Night"})
    await assign_together(session, template_id=1)
    assert await stored_persons(staff) == ["Ann"]
    async with staff.session() as other:
        assert await AsyncBaseRepository(Assignment, other).count() == 1


async def test_003_07_a_provider_has_a_repository_for_each_model(
    session: AsyncSession, persons: list[Person]
) -> None:
    provider = RepositoryProvider(session)
    person_repo = provider.get_repository(Person)
    assert {person.id for person in await person_repo.get_all()} == {"id1", "id2", "id3", "id4"}
    assert provider.get_repository(Person) is person_repo


async def test_003_16_bulk_operations_answer_how_many(session: AsyncSession) -> None:
    data = [{"id": "1", "name": "Person 1"}, {"id": "2", "name": "Person 2"}]
    assert await BulkOperations.bulk_insert(session, Person, data) == 2
    updates = [{"id": "1", "is_active": False}, {"id": "2", "is_active": False}]
    assert await BulkOperations.bulk_update(session, Person, updates) == 2
    assert await AsyncBaseRepository(Person, session).count({"is_active": False}) == 2
    assert await BulkOperations.bulk_delete(session, Person, ["1", "id2"]) == 1


async def test_003_17_filters_and_orders_are_put_onto_a_query(
    session: AsyncSession, persons: list[Person]
) -> None:
    async def found(query: Select[Person]) -> list[str]:
        return [person.id for person in await session.scalars(query)]

    by_id = select(Person).order_by(Person.id)
    query = FilterHelper.apply_filters(by_id, {"role": "RESIDENT", "is_active": True})
    assert await found(query) == ["id1", "id2"]
    end_date = datetime.now(UTC) + timedelta(days=1)
    start_date = end_date - timedelta(days=2)
    query = FilterHelper.apply_range_filter(query, "created_at", Person, min_val=start_date, max_val=end_date)
    assert await found(query) == ["id1", "id2"]
    past = FilterHelper.apply_range_filter(query, "created_at", Person, max_val=start_date)
    assert await found(past) == []
    searched = FilterHelper.apply_search(by_id, Person, "john", fields=["name", "email"])
    assert await found(searched) == ["id1", "id2"]
    by_name = SortHelper.apply_sort(select(Person), Person, "name")
    assert await found(by_name) == ["id4", "id3", "id2", "id1"]
    newest = SortHelper.apply_sort(
        SortHelper.apply_sort(select(Person), Person, "-created_at"), Person, "-name"
    )
    assert await found(newest) == ["id1", "id2", "id3", "id4"]


async def test_003_18_a_query_is_cut_into_pages(session: AsyncSession, persons: list[Person]) -> None:
    query = select(Person).order_by(Person.id)
    query, total = await PaginationHelper.paginate(query, skip=0, limit=3, session=session)
    assert [person.id for person in await session.scalars(query)] == ["id1", "id2", "id3"]
    info = PaginationHelper.get_pagination_info(total=total, skip=0, limit=3)
    assert info == {
        "total": 4, "skip": 0, "limit": 3, "pages": 2, "current_page": 1, "has_next": True, "has_previous": False,
    }  # fmt: skip


async def test_003_24_eager_loading_cures_many_queries_for_one_operation(
    session: AsyncSession, persons: list[Person]
) -> None:
    await assign(session)
    repo = AsyncBaseRepository(Person, session)
    person = await repo.get_by_id_with_relations("id1", ["assignments"])
    assert person is not None
    assert [assignment.template_id for assignment in person.assignments] == [1, 1]


async def test_003_line_29_a_page_has_a_configurable_limit(session: AsyncSession) -> None:
    assert PaginationParams(limit=1000).limit == 1000
    for limit in (0, 1001):
        with pytest.raises(InvalidLimit):
            PaginationParams(limit=limit)


async def test_003_line_30_filters_match_exactly_by_range_and_by_text(
    session: AsyncSession, persons: list[Person]
) -> None:
    repo = AsyncBaseRepository(Person, session)
    assert await repo.count({"name": "Jane"}) == 1
    assert await repo.count({"name__between": ("C", "J")}) == 1
    assert await repo.count(Search("john", ("name", "email"))) == 2


class PersonRepository(AsyncBaseRepository[Person]):
    def __init__(self, session: AsyncSession) -> None:
        super().__init__(Person, session)


async def test_003_line_203_a_model_may_have_a_repository_of_its_own(session: AsyncSession) -> None:
    factory = RepositoryFactory()
    factory.register(Person, PersonRepository)
    assert isinstance(RepositoryProvider(session, factory).get_repository(Person), PersonRepository)
