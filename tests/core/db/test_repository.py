"""What a repository reads and changes, one row at a time."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import (
    AsyncBaseRepository,
    ConstraintViolated,
    Database,
    DatabaseTimeout,
    DatabaseUnavailable,
    InvalidFieldValue,
    InvalidLimit,
    InvalidValue,
    PaginationParams,
    RowLock,
    SerializationFailure,
    UnknownField,
    get_db_context,
)
from app.core.errors import ConfigurationError, EntityNotFoundError
from tests.cases import each_case
from tests.staff import Assignment, Badge, Certification, Person, Template


class PersonCreate(BaseModel):
    name: str
    age: int | None = None


class PersonUpdate(BaseModel):
    name: str | None = None
    age: int | None = None


@pytest.fixture
def people(db: AsyncSession) -> AsyncBaseRepository[Person]:
    return AsyncBaseRepository(Person, db)


class TestOneRow:
    async def test_create_returns_what_the_database_filled_in(
        self, people: AsyncBaseRepository[Person]
    ) -> None:
        made = await people.create(PersonCreate(name="Ann"))
        assert made.id.startswith("person-")
        assert (made.role, made.tags, made.version) == ("RESIDENT", [], 1)
        assert made.created_at.tzinfo is not None

    async def test_update_changes_what_was_set_and_shows_what_the_server_computed(
        self, people: AsyncBaseRepository[Person]
    ) -> None:
        made = await people.create({"name": "Ann", "age": 30})
        before = made.updated_at
        changed = await people.update(made, PersonUpdate(name="Jane"))
        assert (changed.name, changed.age, changed.version) == ("Jane", 30, 2)
        assert changed.updated_at > before
        assert (await people.update(made.id, PersonUpdate(age=None))).age is None

    async def test_get_by_id_finds_or_not(self, people: AsyncBaseRepository[Person]) -> None:
        made = await people.create({"name": "Ann"})
        assert await people.get_by_id(made.id) is made
        assert await people.get_by_id("person-123") is None
        with pytest.raises(EntityNotFoundError, match="Person not found"):
            await people.get_one("person-123")
        with pytest.raises(EntityNotFoundError):
            await people.update("person-123", {"name": "x"})

    async def test_an_id_may_come_as_text_and_must_be_one(self, db: AsyncSession) -> None:
        badges = AsyncBaseRepository(Badge, db)
        made = await badges.create({"rank": 1})
        assert await badges.get_by_id(str(made.id)) is made
        for wrong in ("not-a-uuid", 5, None, (made.id,)):
            with pytest.raises(InvalidFieldValue) as refusal:
                await badges.get_by_id(wrong)
            assert refusal.value.name == "id"

    async def test_a_key_of_several_columns(
        self, db: AsyncSession, people: AsyncBaseRepository[Person]
    ) -> None:
        person = await people.create({"name": "Ann"})
        certificates = AsyncBaseRepository(Certification, db)
        made = await certificates.create({"person_id": person.id, "number": 7})
        assert await certificates.get_by_id((person.id, 7)) is made
        assert await certificates.get_by_id({"number": 7, "person_id": person.id}) is made
        assert await certificates.get_by_id((person.id, 8)) is None
        for wrong in ("ab", (person.id,), {"number": 7}, (person.id, None)):
            with pytest.raises(InvalidFieldValue):
                await certificates.get_by_id(wrong)
        assert await certificates.bulk_update([{"person_id": person.id, "number": 7, "title": "New"}]) == 1
        assert made.title == "New"
        assert await certificates.bulk_delete([(person.id, 7), (person.id, 8)]) == 1

    async def test_delete_by_object_and_by_key(self, people: AsyncBaseRepository[Person]) -> None:
        ann, bob = await people.bulk_create([{"name": "Ann"}, {"name": "Bob"}])
        assert await people.delete(ann)
        assert await people.delete(bob.id)
        assert not await people.delete(bob.id)
        assert await people.count() == 0

    @pytest.mark.parametrize(
        "data", [{"name": "a", "nmae": 1}, {"name": "a", "assignments": []}, {"metadata": 1}]
    )
    async def test_what_is_no_column_is_422(self, people: AsyncBaseRepository[Person], data: Any) -> None:
        with pytest.raises(UnknownField):
            await people.create(data)
        with pytest.raises(UnknownField):
            await people.bulk_create([data])

    async def test_refusals_of_the_schema_show_where_they_were_caused(
        self, people: AsyncBaseRepository[Person], db: AsyncSession
    ) -> None:
        await people.create({"name": "Ann"})
        async with db.begin_nested() as point:
            with pytest.raises(ConstraintViolated) as refusal:
                await people.create({"name": "Ann"})
            assert refusal.value.constraint == "uq_persons_ward_name"
            await point.rollback()
        async with db.begin_nested() as point:
            with pytest.raises(InvalidValue):
                await people.create({"name": None})
            await point.rollback()

    async def test_of_two_changes_at_once_the_slower_is_refused(
        self, staff: None, database: Database
    ) -> None:
        async with get_db_context(database) as session:
            made = await AsyncBaseRepository(Person, session).create({"name": str(uuid4())})
        async with database.session() as slow:
            people = AsyncBaseRepository(Person, slow)
            seen = await people.get_one(made.id)
            async with get_db_context(database) as quick:
                await AsyncBaseRepository(Person, quick).update(made.id, {"age": 1})
            with pytest.raises(SerializationFailure):
                await people.update(seen, {"age": 2})
        async with database.session() as session:
            people = AsyncBaseRepository(Person, session)
            assert (await people.get_one(made.id)).age == 1
            await people.delete(made.id)
            await people.commit()

    async def test_commit_keeps_and_rollback_undoes(self, staff: None, database: Database) -> None:
        async with database.session() as session:
            badges = AsyncBaseRepository(Badge, session)
            kept = (await badges.create({"rank": 1})).id
            await badges.commit()
            undone = (await badges.create({"rank": 2})).id
            await badges.rollback()
        async with database.session() as session:
            badges = AsyncBaseRepository(Badge, session)
            assert await badges.get_by_id(undone) is None
            assert await badges.delete(kept)
            await badges.commit()


class TestScope:
    async def test_nothing_leads_out_of_it(self, db: AsyncSession) -> None:
        mine = AsyncBaseRepository(Person, db, scope={"ward": "mine"})
        other = AsyncBaseRepository(Person, db, scope={"ward": "other"})
        theirs = await other.create({"name": "Bob", "age": 1})
        own = await mine.create({"name": "Ann"})
        assert own.ward == "mine"
        assert await mine.get_by_id(theirs.id) is None
        assert await mine.get_all() == [own]
        assert [await mine.count(), await mine.exists({"name": "Bob"})] == [1, False]
        assert (await mine.get_paginated(PaginationParams())).total == 1
        assert await mine.for_update(limit=10) == [own]
        assert [row async for batch in mine.batches() for row in batch] == [own]
        async with mine.stream() as rows:
            assert [row async for row in rows] == [own]
        assert not await mine.delete(theirs.id)
        assert await mine.bulk_delete([theirs.id]) == 0
        assert await mine.bulk_update([{"id": theirs.id, "age": 99}]) == 0
        for refused in (
            mine.update(theirs, {"age": 99}),
            mine.delete(theirs),
            mine.update(theirs.id, {"age": 9}),
        ):
            with pytest.raises(EntityNotFoundError):
                await refused
        with pytest.raises(ConstraintViolated):
            await mine.upsert({"id": theirs.id, "name": "Eve"}, conflict_on=("id",))
        assert (await other.get_one(theirs.id)).age == 1

    async def test_no_row_is_made_or_moved_elsewhere(self, db: AsyncSession) -> None:
        mine = AsyncBaseRepository(Person, db, scope={"ward": "mine"})
        own = await mine.create({"name": "Ann", "ward": "mine"})
        for refused in (
            mine.create({"name": "x", "ward": "other"}),
            mine.bulk_create([{"name": "x", "ward": "other"}]),
            mine.update(own, {"ward": "other"}),
            mine.bulk_update([{"id": own.id, "ward": "other"}]),
            mine.upsert({"name": "x", "ward": "other"}, conflict_on=("ward", "name")),
        ):
            with pytest.raises(InvalidFieldValue) as refusal:
                await refused
            assert refusal.value.name == "ward"

    @each_case("scope", [{"ward": None}, {"nope": 1}])
    def test_a_forgotten_value_is_no_scope(self, scope: Any) -> None:
        with pytest.raises(ConfigurationError):
            AsyncBaseRepository(Person, AsyncSession(), scope=scope)


@pytest.fixture
async def assigned(db: AsyncSession, people: AsyncBaseRepository[Person]) -> str:
    """A person with two assignments and a certificate, none of them in the session any more."""
    person = await people.create({"name": "Ann"})
    template = await AsyncBaseRepository(Template, db).create({"title": "Night"})
    await AsyncBaseRepository(Assignment, db).bulk_create(
        [{"person_id": person.id, "template_id": template.id}] * 2
    )
    await AsyncBaseRepository(Certification, db).create({"person_id": person.id, "number": 1})
    db.expunge_all()
    return person.id


class TestLoading:
    async def test_named_relationships_are_there_and_others_raise(
        self, people: AsyncBaseRepository[Person], assigned: str
    ) -> None:
        person = await people.get_by_id_with_relations(
            assigned, relations=["assignments.template", "certifications"]
        )
        assert person is not None
        assert [each.template.title for each in person.assignments] == ["Night", "Night"]
        assert len(person.certifications) == 1
        with pytest.raises(InvalidRequestError, match="raise"):
            _ = person.assignments[0].template.assignments

    async def test_a_relationship_that_the_model_would_load_lazily_raises_too(
        self, db: AsyncSession, assigned: str
    ) -> None:
        assignments = AsyncBaseRepository(Assignment, db)
        (first, _) = await assignments.get_all()
        with pytest.raises(InvalidRequestError, match="lazy='raise'"):
            _ = first.template
        again = await assignments.get_by_id(first.id)
        assert again is first
        with pytest.raises(InvalidRequestError, match="lazy='raise'"):
            _ = again.template

    async def test_an_object_that_was_loaded_before_gets_what_is_asked_for_now(
        self, people: AsyncBaseRepository[Person], assigned: str
    ) -> None:
        plain = await people.get_one(assigned)
        loaded = await people.get_one(assigned, load=["assignments"])
        assert plain is loaded
        assert len(loaded.assignments) == 2

    async def test_what_was_made_in_bulk_raises_too(self, db: AsyncSession, assigned: str) -> None:
        assignments = AsyncBaseRepository(Assignment, db)
        first = (await assignments.get_all())[0]
        (made,) = await assignments.bulk_create([{"person_id": assigned, "template_id": first.template_id}])
        with pytest.raises(InvalidRequestError, match="lazy='raise'"):
            _ = made.template

    async def test_a_repository_may_allow_what_needs_no_statement(
        self, db: AsyncSession, assigned: str
    ) -> None:
        class Lenient(AsyncBaseRepository[Assignment]):
            lazy_loading = "raise_on_sql"

        assignments = Lenient(Assignment, db)
        (first, _) = await assignments.get_all()
        with pytest.raises(InvalidRequestError, match="raise_on_sql"):
            _ = first.template
        template = await AsyncBaseRepository(Template, db).get_one(first.template_id)
        assert first.template is template
        (made,) = await assignments.bulk_create([{"person_id": assigned, "template_id": template.id}])
        assert made.template is template

    async def test_all_and_pages_with_relations(
        self, people: AsyncBaseRepository[Person], assigned: str
    ) -> None:
        await people.create({"name": "Bob"})
        persons = await people.get_all_with_relations(
            relations=["assignments"], pagination=PaginationParams(limit=1), order_by="name"
        )
        assert [len(person.assignments) for person in persons] == [2]
        assert len(await people.get_all_with_relations(["assignments"])) == 2

    @pytest.mark.parametrize("path", ["nope", "name", "assignments.nope", "assignments.person_id", ""])
    async def test_a_path_that_does_not_exist_is_named(
        self, people: AsyncBaseRepository[Person], path: str
    ) -> None:
        with pytest.raises(UnknownField) as refusal:
            await people.get_by_id("x", load=[path])
        assert refusal.value.name == path

    async def test_only_some_columns(self, people: AsyncBaseRepository[Person], assigned: str) -> None:
        (person,) = await people.get_by_filters({"id": assigned}, only=["name"])
        assert (person.id, person.name) == (assigned, "Ann")
        with pytest.raises(InvalidRequestError):
            _ = person.email

    async def test_a_deleted_person_takes_the_assignments_along(
        self, people: AsyncBaseRepository[Person], db: AsyncSession, assigned: str
    ) -> None:
        await people.delete(await people.get_one(assigned))
        assert await AsyncBaseRepository(Assignment, db).count() == 0


class TestPages:
    async def test_a_page_knows_the_whole(self, people: AsyncBaseRepository[Person]) -> None:
        await people.bulk_create([{"name": f"{number:02}", "role": "R"} for number in range(7)])
        page = await people.get_paginated(PaginationParams(skip=3, limit=3), order_by="-name")
        assert [person.name for person in page.data] == ["03", "02", "01"]
        assert (page.total, page.pages, page.current_page, page.has_next, page.has_previous) == (
            7,
            3,
            2,
            True,
            True,
        )
        last = await people.get_paginated(PaginationParams(skip=6, limit=3), order_by="-name")
        assert (last.total, len(last.data), last.has_next) == (7, 1, False)
        beyond = await people.get_paginated(PaginationParams(skip=60, limit=3))
        assert (beyond.total, beyond.data) == (7, [])
        some = await people.get_paginated(PaginationParams(limit=2), filters={"name__gte": "05"})
        assert (some.total, some.pages) == (2, 1)
        none = await people.get_paginated(filters={"name": "x"})
        assert (none.total, none.pages, none.has_next) == (0, 0, False)

    async def test_each_scope_has_pages_of_its_own(self, db: AsyncSession) -> None:
        wards = {ward: AsyncBaseRepository(Person, db, scope={"ward": ward}) for ward in ("A", "B")}
        for ward, people in wards.items():
            await people.bulk_create([{"name": f"{ward}{number}"} for number in range(3)])
        for ward, people in wards.items():
            page = await people.get_paginated(PaginationParams(1, 2), order_by="name")
            assert [person.name for person in page.data] == [f"{ward}1", f"{ward}2"]
            assert page.total == 3
        everyone = await AsyncBaseRepository(Person, db).get_paginated(order_by="ward,-name")
        assert [person.name for person in everyone.data] == ["A2", "A1", "A0", "B2", "B1", "B0"]

    async def test_the_last_place_that_can_be_asked_for_is_empty(
        self, people: AsyncBaseRepository[Person]
    ) -> None:
        await people.create({"name": "Ann"})
        for filters in (None, {"name": "Ann"}):
            page = await people.get_paginated(PaginationParams(2**63 - 1, 1), filters=filters)
            assert (page.data, page.total) == ([], 1)

    async def test_a_page_loads_as_its_repository_says(
        self, people: AsyncBaseRepository[Person], db: AsyncSession
    ) -> None:
        class Lenient(AsyncBaseRepository[Person]):
            lazy_loading = "raise_on_sql"

        await people.create({"name": "Ann"})
        db.expunge_all()
        for repository, message in ((people, "lazy='raise'"), (Lenient(Person, db), "lazy='raise_on_sql'")):
            (ann,) = (await repository.get_paginated()).data
            with pytest.raises(InvalidRequestError, match=message):
                _ = ann.assignments
            db.expunge_all()

    async def test_equal_rows_stand_on_one_page_only(self, people: AsyncBaseRepository[Person]) -> None:
        await people.bulk_create([{"name": str(number), "role": "R"} for number in range(30)])
        seen = [
            person.id
            for skip in range(0, 30, 7)
            for person in (await people.get_paginated(PaginationParams(skip, 7), order_by="role")).data
        ]
        assert len(set(seen)) == 30

    @each_case(
        ("skip", "limit", "name"),
        [(-1, 20, "skip"), (2**63, 20, "skip"), (True, 20, "skip"), (0, 0, "limit"), (0, 1001, "limit")],
    )
    def test_a_page_out_of_range_is_named(self, skip: int, limit: int, name: str) -> None:
        with pytest.raises(InvalidLimit) as refusal:
            PaginationParams(skip, limit)
        assert (refusal.value.name, refusal.value.status) == (name, 422)

    def test_pages_by_number_for_http(self) -> None:
        assert PaginationParams.of_page(3, 50) == PaginationParams(100, 50)
        for page, limit in ((0, 20), (1, 101), (2**63, 20)):
            with pytest.raises(InvalidLimit):
                PaginationParams.of_page(page, limit)

    async def test_first_by_filters(self, people: AsyncBaseRepository[Person]) -> None:
        await people.bulk_create([{"name": "a"}, {"name": "b"}])
        first = await people.get_first_by_filters({"role": "RESIDENT"}, order_by="-name")
        assert first is not None
        assert first.name == "b"
        assert await people.get_first_by_filters({"role": "FACULTY"}) is None


class TestLocks:
    async def test_workers_share_a_queue_and_never_a_row(self, staff: None, database: Database) -> None:
        async with get_db_context(database) as session:
            made = await AsyncBaseRepository(Badge, session).bulk_create([{"rank": n} for n in range(4)])
        try:
            async with database.session() as one, database.session() as two:
                first = await AsyncBaseRepository(Badge, one).for_update(
                    limit=2, order_by="rank", skip_locked=True
                )
                badges = AsyncBaseRepository(Badge, two)
                second = await badges.for_update(limit=4, order_by="rank", skip_locked=True)
                assert ([row.rank for row in first], [row.rank for row in second]) == ([0, 1], [2, 3])
                with pytest.raises(DatabaseTimeout):
                    await badges.get_by_id(first[0].id, lock=RowLock(nowait=True))
        finally:
            async with get_db_context(database) as session:
                await AsyncBaseRepository(Badge, session).bulk_delete([badge.id for badge in made])

    async def test_a_locked_row_is_read_as_it_is_now(self, staff: None, database: Database) -> None:
        async with get_db_context(database) as session:
            made = await AsyncBaseRepository(Badge, session).create({"rank": 1})
        async with database.session() as session:
            badges = AsyncBaseRepository(Badge, session)
            seen = await badges.get_one(made.id)
            async with get_db_context(database) as other:
                await AsyncBaseRepository(Badge, other).update(made.id, {"rank": 2})
            assert (await badges.get_one(made.id)).rank == 1
            assert (await badges.get_one(made.id, lock=RowLock())) is seen
            assert seen.rank == 2
            await badges.delete(seen)
            await badges.commit()

    def test_the_two_ways_not_to_wait_exclude_each_other(self) -> None:
        with pytest.raises(InvalidFieldValue):
            RowLock(skip_locked=True, nowait=True)


class TestMany:
    @pytest.mark.parametrize("size", [1, 3, 10, 1000])
    async def test_batches_hold_every_row_once(self, db: AsyncSession, size: int) -> None:
        badges = AsyncBaseRepository(Badge, db)
        await badges.bulk_create([{"rank": number % 3 or None} for number in range(10)])
        batches = [batch async for batch in badges.batches(size=size, order_by="-rank")]
        assert all(len(batch) <= size for batch in batches)
        assert len({row.id for batch in batches for row in batch}) == 10
        assert [row.rank for batch in batches for row in batch] == [None] * 4 + [2] * 3 + [1] * 3

    async def test_a_stream_is_read_in_parts_and_closed_when_it_is_left(
        self, db: AsyncSession, assigned: str
    ) -> None:
        people = AsyncBaseRepository(Person, db)
        await people.bulk_create([{"name": f"{number:03}"} for number in range(50)])
        async with people.stream({"name__lt": "9"}, order_by="name", load=["assignments"], size=10) as rows:
            names = [person.name async for person in rows]
        assert names == [f"{number:03}" for number in range(50)]
        async with people.stream(size=10) as rows:
            async for _ in rows:
                break
        assert await people.count() == 51

    async def test_a_stream_that_breaks_raises_our_error(self, staff: None, database: Database) -> None:
        async with get_db_context(database) as session:
            made = await AsyncBaseRepository(Badge, session).bulk_create([{"rank": n} for n in range(9)])
        ids: list[UUID] = [badge.id for badge in made]
        async with database.session() as session:
            badges = AsyncBaseRepository(Badge, session)
            backend = await session.scalar(text("SELECT pg_backend_pid()"))
            with pytest.raises(DatabaseUnavailable):
                await self.read_while_the_backend_dies(badges, database, backend)
            await session.invalidate()
        async with get_db_context(database) as session:
            assert await AsyncBaseRepository(Badge, session).bulk_delete(ids) == 9

    async def read_while_the_backend_dies(
        self, badges: AsyncBaseRepository[Badge], database: Database, backend: int | None
    ) -> None:
        async with badges.stream(size=2) as rows:
            await anext(rows)
            async with database.connect() as other:
                await other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})
            async for _ in rows:
                pass
