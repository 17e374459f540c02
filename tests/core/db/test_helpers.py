from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import (
    BulkOperations,
    FilterHelper,
    InvalidLimit,
    PaginationHelper,
    QueryRefused,
    SortHelper,
    UnknownField,
)
from app.core.errors import ConfigurationError
from tests.staff import Assignment, Person, Template


@pytest.fixture
async def people(db: AsyncSession) -> AsyncSession:
    rows = [{"name": name, "age": age} for name, age in (("Ann", 30), ("Bob", 40), ("Eve", 50))]
    assert await BulkOperations.bulk_insert(db, Person, rows) == 3
    return db


async def test_parts_of_a_statement_fit_together(people: AsyncSession) -> None:
    query = FilterHelper.apply_filters(select(Person), {"role": "RESIDENT", "age__gte": 30})
    query = FilterHelper.apply_range_filter(query, "age", Person, max_val=45)
    query = FilterHelper.apply_search(query, Person, "N", fields=["name", "email"])
    assert [person.name for person in await people.scalars(query)] == ["Ann"]
    names = SortHelper.apply_sort(select(Person.name), Person, "role,-name")
    assert list(await people.scalars(names)) == ["Eve", "Bob", "Ann"]


async def test_a_page_and_its_total(people: AsyncSession) -> None:
    query = SortHelper.apply_sort(select(Person), Person, "name")
    page, total = await PaginationHelper.paginate(query, skip=1, limit=1, session=people)
    assert ([person.name for person in await people.scalars(page)], total) == (["Bob"], 3)
    info = PaginationHelper.get_pagination_info(total=total, skip=1, limit=1)
    assert info == {
        "total": 3, "skip": 1, "limit": 1, "pages": 3, "current_page": 2, "has_next": True, "has_previous": True,
    }  # fmt: skip


async def test_the_total_of_a_join_and_of_groups_is_that_of_its_rows(people: AsyncSession) -> None:
    ann, bob = (await people.scalars(select(Person.id).order_by(Person.name).limit(2))).all()
    people.add(Template(id=1, title="Night"))
    await people.flush()
    rows = [{"person_id": person, "template_id": 1} for person in (ann, ann, bob)]
    await BulkOperations.bulk_insert(people, Assignment, rows)
    joined = select(Person, Assignment).join(Assignment, Assignment.person_id == Person.id)
    assert (await PaginationHelper.paginate(joined, session=people))[1] == 3
    grouped = select(Assignment.person_id, func.count()).group_by(Assignment.person_id)
    assert (await PaginationHelper.paginate(grouped, session=people))[1] == 2


async def test_bulk_work_answers_how_many(people: AsyncSession) -> None:
    ids = (await people.scalars(select(Person.id).order_by(Person.name))).all()
    updates: list[dict[str, Any]] = [{"id": identity, "is_active": False} for identity in [*ids[:2], "none"]]
    assert await BulkOperations.bulk_update(people, Person, updates) == 2
    assert await people.scalar(select(func.count()).where(~Person.is_active)) == 2
    assert await BulkOperations.bulk_delete(people, Person, [ids[0], "none"]) == 1
    assert await BulkOperations.bulk_insert(people, Person, []) == 0
    with pytest.raises(UnknownField):
        await BulkOperations.bulk_insert(people, Person, [{"nmae": 1}])


async def test_wrong_questions_are_422(people: AsyncSession) -> None:
    query = select(Person)
    for refused in (
        lambda: FilterHelper.apply_filters(query, {"nmae": 1}),
        lambda: FilterHelper.apply_range_filter(query, "nmae", Person, 1),
        lambda: FilterHelper.apply_search(query, Person, "x", ["age"]),
        lambda: SortHelper.apply_sort(query, Person, "-nmae"),
        lambda: PaginationHelper.get_pagination_info(1, 0, 0),
    ):
        with pytest.raises(QueryRefused):
            refused()
    with pytest.raises(InvalidLimit):
        await PaginationHelper.paginate(query, skip=-1, session=people)
    with pytest.raises(ConfigurationError, match="selects no model"):
        FilterHelper.apply_filters(select(func.now()), {"name": "a"})
