"""Many rows in few statements."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import AsyncBaseRepository, ConstraintViolated, Database, InvalidFieldValue
from app.core.db._bulk import MAX_PARAMETERS, chunks, insert_rows
from tests.staff import Badge, Level, Person


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What is sent while the block runs."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    yield sent
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)


@pytest.fixture
def people(db: AsyncSession) -> AsyncBaseRepository[Person]:
    return AsyncBaseRepository(Person, db)


@given(rows=st.integers(0, 5000), width=st.integers(0, 70_000))
def test_no_part_is_more_than_a_statement_holds(rows: int, width: int) -> None:
    parts = list(chunks(range(rows), width))
    assert [row for part in parts for row in part] == list(range(rows))
    assert all(len(part) == 1 or len(part) * width <= MAX_PARAMETERS for part in parts)
    assert all(0 < len(part) <= 1000 for part in parts)


class TestCreate:
    async def test_objects_come_back_in_order_and_complete(
        self, people: AsyncBaseRepository[Person], database: Database
    ) -> None:
        with statements(database) as sent:
            made = await people.bulk_create([{"name": str(number), "age": number} for number in range(2500)])
        assert [person.age for person in made] == list(range(2500))
        assert all(person.version == 1 and person.created_at.tzinfo and person.id for person in made)
        assert len(sent) <= 6
        assert await people.count() == 2500

    async def test_the_collector_is_rare_meanwhile_and_as_before_afterwards(
        self, people: AsyncBaseRepository[Person], database: Database
    ) -> None:
        before, seen = gc.get_threshold(), set()

        def note(*_: Any) -> None:
            seen.add(gc.get_threshold()[0])

        event.listen(database.engine.sync_engine, "before_cursor_execute", note)
        await people.bulk_create([{"name": str(number)} for number in range(1500)])
        with pytest.raises(ConstraintViolated):
            await people.bulk_create([{"name": "1"}])
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)
        assert seen == {50_000}
        assert gc.get_threshold() == before

    async def test_rows_may_have_different_fields(self, people: AsyncBaseRepository[Person]) -> None:
        made = await people.bulk_create(
            [{"name": "a"}, {"name": "b", "age": 5}, {"name": "c", "tags": ["x"]}]
        )
        assert [(person.name, person.age, person.tags) for person in made] == [
            ("a", None, []), ("b", 5, []), ("c", None, ["x"]),
        ]  # fmt: skip

    async def test_nothing_is_nothing(self, people: AsyncBaseRepository[Person]) -> None:
        assert await people.bulk_create([]) == []
        assert await people.bulk_update([]) == 0
        assert await people.bulk_delete([]) == 0
        assert await people.bulk_upsert([], conflict_on=("id",)) == []

    async def test_more_rows_than_one_statement_holds(self, db: AsyncSession, database: Database) -> None:
        ids = [uuid4() for _ in range(MAX_PARAMETERS + 1)]
        assert await insert_rows(db, Badge, [{"id": identity} for identity in ids]) == len(ids)
        badges, some = AsyncBaseRepository(Badge, db), ids[:2001]
        assert await badges.count() == len(ids)
        with statements(database) as sent:
            assert await badges.bulk_update([{"id": identity, "rank": 1} for identity in some]) == len(some)
            assert await badges.bulk_delete(some) == len(some)
        assert [sql.split()[0] for sql in sent] == ["UPDATE"] * 3 + ["DELETE"] * 3
        assert await badges.count() == len(ids) - len(some)

    async def test_many_rows_are_changed_and_no_others(self, db: AsyncSession) -> None:
        ids = [uuid4() for _ in range(2001)]
        await insert_rows(db, Badge, [{"id": identity} for identity in ids])
        badges = AsyncBaseRepository(Badge, db)
        assert await badges.bulk_update([{"id": identity, "rank": 1} for identity in ids[1:]]) == 2000
        assert await badges.count({"rank": 1}) == 2000


class TestUpdate:
    async def test_every_kind_of_column_is_changed(
        self, people: AsyncBaseRepository[Person], db: AsyncSession
    ) -> None:
        ann, bob, eve = await people.bulk_create([{"name": name} for name in ("Ann", "Bob", "Eve")])
        before = ann.updated_at
        changes = {
            "email": None, "age": 7, "badge": 2**40, "pay": Decimal("1.10"), "rating": 0.5, "is_active": False,
            "level": Level.SENIOR, "tags": ["x", "y"], "details": {"a": [1, None]},
        }  # fmt: skip
        count = await people.bulk_update(
            [{"id": ann.id, **changes}, {"id": bob.id, "age": 8}, {"id": "none", "age": 9}]
        )
        assert count == 2
        assert {name: getattr(ann, name) for name in changes} == changes
        assert (bob.age, bob.version, eve.version) == (8, 2, 1)
        assert ann.updated_at > before
        db.expunge_all()
        again = await people.get_one(ann.id)
        assert {name: getattr(again, name) for name in changes} == changes
        assert (await people.update(again, {"age": 1})).version == 3

    @pytest.mark.parametrize(
        ("rows", "name"),
        [
            ([{"age": 1}], "id"),
            ([{"id": "a"}], "rows"),
            ([{"id": None, "age": 1}], "id"),
            ([{"id": "a", "age": 1}, {"id": "a", "name": "x"}], "id"),
            ([{"id": "a", "age": "old"}], "age"),
        ],
    )
    async def test_rows_that_make_no_sense_are_named(
        self, people: AsyncBaseRepository[Person], rows: Any, name: str
    ) -> None:
        with pytest.raises(InvalidFieldValue) as refusal:
            await people.bulk_update(rows)
        assert refusal.value.name == name


async def test_deleted_objects_leave_the_session(
    people: AsyncBaseRepository[Person], db: AsyncSession
) -> None:
    ann, bob = await people.bulk_create([{"name": "Ann"}, {"name": "Bob"}])
    assert await people.bulk_delete([ann.id, "none"]) == 1
    assert ann not in db
    assert bob in db
    assert await people.get_by_id(ann.id) is None


class TestUpsert:
    async def test_a_new_row_is_made_and_one_that_is_there_is_changed(
        self, people: AsyncBaseRepository[Person]
    ) -> None:
        made = await people.upsert({"ward": "A", "name": "Ann", "age": 1}, conflict_on=("ward", "name"))
        before = made.updated_at
        again = await people.upsert({"ward": "A", "name": "Ann", "age": 2}, conflict_on=("ward", "name"))
        assert again is made
        assert (again.age, again.version) == (2, 2)
        assert again.updated_at > before
        assert await people.count() == 1

    async def test_what_is_changed_can_be_chosen(self, people: AsyncBaseRepository[Person]) -> None:
        on = ("ward", "name")
        await people.upsert({"ward": "A", "name": "Ann", "age": 1, "role": "R"}, conflict_on=on)
        some = await people.upsert(
            {"ward": "A", "name": "Ann", "age": 2, "role": "F"}, conflict_on=on, update=("age",)
        )
        assert (some.age, some.role) == (2, "R")
        none = await people.upsert(
            {"ward": "A", "name": "Ann", "age": 3, "role": "F"}, conflict_on=on, update=()
        )
        assert (none.age, none.role) == (2, "R")

    async def test_many_at_once(self, people: AsyncBaseRepository[Person]) -> None:
        await people.bulk_create([{"name": "1", "age": 0}])
        kept = await people.bulk_upsert(
            [{"ward": "A", "name": str(number), "age": number} for number in range(1500)],
            conflict_on=("ward", "name"),
        )
        assert sorted(person.age or 0 for person in kept) == list(range(1500))
        assert await people.count() == 1500

    @pytest.mark.parametrize(
        ("rows", "on", "name"),
        [
            ([{"name": "a"}], (), "conflict_on"),
            ([{"name": "a"}], ("ward", "name"), "ward"),
            ([{"name": "a"}, {"name": "b", "age": 1}], ("name",), "rows"),
            ([{"name": "a"}, {"name": "a"}], ("name",), "name"),
        ],
    )
    async def test_rows_that_make_no_sense_are_named(
        self, people: AsyncBaseRepository[Person], rows: Any, on: tuple[str, ...], name: str
    ) -> None:
        with pytest.raises(InvalidFieldValue) as refusal:
            await people.bulk_upsert(rows, conflict_on=on)
        assert refusal.value.name == name

    async def test_what_is_to_be_changed_must_be_given(self, people: AsyncBaseRepository[Person]) -> None:
        with pytest.raises(InvalidFieldValue, match="'age' is to be changed"):
            await people.upsert({"ward": "A", "name": "Ann"}, conflict_on=("ward", "name"), update=("age",))

    async def test_another_constraint_still_refuses(self, people: AsyncBaseRepository[Person]) -> None:
        await people.create({"name": "Ann"})
        with pytest.raises(ConstraintViolated):
            await people.upsert({"id": "new", "name": "Ann"}, conflict_on=("id",))
