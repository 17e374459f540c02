import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import User
from app.core.db import Database, SerializationFailure, get_db_context
from app.core.errors import NotAuthenticated
from app.features.records.models import Record
from app.features.records.repository import RecordRepository
from app.features.records.schemas import RecordCreate, RecordQuery, RecordUpdate
from app.features.records.service import RecordNameTaken, RecordNotFound, RecordService
from tests.features.records.conftest import AddUser


def of(session: AsyncSession, owner: UUID) -> RecordService:
    return RecordService(RecordRepository(session, owner))


@pytest.fixture
async def records(db_session: AsyncSession, add_user: AddUser) -> RecordService:
    return of(db_session, await add_user(db_session))


@pytest.fixture
async def strangers(db_session: AsyncSession, add_user: AddUser) -> RecordService:
    return of(db_session, await add_user(db_session))


class TestCreate:
    async def test_stored_and_returned_with_what_the_database_added(self, records: RecordService) -> None:
        made = await records.create(RecordCreate(name="a", tags=["t"], payload={"k": [1, None, "ü"]}))
        assert made.id.version == 7
        assert made.version == 1
        assert made.created_at == made.updated_at
        assert await records.get(made.id) == made

    async def test_a_name_is_taken_once_per_owner(
        self, records: RecordService, strangers: RecordService, db_session: AsyncSession
    ) -> None:
        await records.create(RecordCreate(name="a"))
        await strangers.create(RecordCreate(name="a"))
        with pytest.raises(RecordNameTaken):
            async with db_session.begin_nested():
                await records.create(RecordCreate(name="a"))

    async def test_an_owner_who_is_gone_must_sign_in_again(self, db_session: AsyncSession) -> None:
        with pytest.raises(NotAuthenticated):
            await of(db_session, uuid4()).create(RecordCreate(name="a"))


class TestOwnership:
    async def test_another_users_record_does_not_exist(
        self, records: RecordService, strangers: RecordService
    ) -> None:
        mine = await records.create(RecordCreate(name="a"))
        with pytest.raises(RecordNotFound, match="Record not found"):
            await strangers.get(mine.id)
        with pytest.raises(RecordNotFound):
            await strangers.update(mine.id, RecordUpdate(name="b"))
        with pytest.raises(RecordNotFound):
            await strangers.delete(mine.id)
        assert (await strangers.list_page(RecordQuery())).items == []
        assert await records.get(mine.id) == mine


class TestUpdate:
    async def test_changes_what_was_sent_and_counts(self, records: RecordService) -> None:
        made = await records.create(RecordCreate(name="a", tags=["t"], payload={"k": 1}))
        changed = await records.update(made.id, RecordUpdate.model_validate({"payload": {"k": 2}}))
        assert changed.model_dump(exclude={"payload", "version", "updated_at"}) == made.model_dump(
            exclude={"payload", "version", "updated_at"}
        )
        assert (changed.payload, changed.version) == ({"k": 2}, 2)

    async def test_nothing_sent_changes_nothing(self, records: RecordService) -> None:
        made = await records.create(RecordCreate(name="a"))
        assert await records.update(made.id, RecordUpdate()) == made

    async def test_a_taken_name_is_refused(self, records: RecordService) -> None:
        await records.create(RecordCreate(name="a"))
        other = await records.create(RecordCreate(name="b"))
        with pytest.raises(RecordNameTaken):
            await records.update(other.id, RecordUpdate.model_validate({"name": "a"}))

    async def test_a_record_that_does_not_exist_is_not_found(self, records: RecordService) -> None:
        with pytest.raises(RecordNotFound):
            await records.update(uuid4(), RecordUpdate())

    @pytest.mark.usefixtures("clean_database")
    async def test_time_of_the_change_moves_on(self, database: Database, add_user: AddUser) -> None:
        async with get_db_context(database) as session:
            owner = await add_user(session)
            made = await of(session, owner).create(RecordCreate(name="a"))
        async with get_db_context(database) as session:
            changed = await of(session, owner).update(made.id, RecordUpdate.model_validate({"name": "b"}))
        assert changed.updated_at > changed.created_at == made.created_at

    @pytest.mark.usefixtures("clean_database")
    async def test_of_two_changes_at_once_the_slower_is_refused(
        self, database: Database, add_user: AddUser
    ) -> None:
        async with get_db_context(database) as session:
            owner = await add_user(session)
            made = await of(session, owner).create(RecordCreate(name="a"))
        async with database.session() as slow:
            repository = RecordRepository(slow, owner)
            seen = await repository.get_by_id(made.id)
            assert seen is not None
            async with get_db_context(database) as quick:
                await of(quick, owner).update(made.id, RecordUpdate.model_validate({"name": "quick"}))
            with pytest.raises(SerializationFailure):
                await repository.update(seen, {"name": "slow"})
        async with database.session() as session:
            assert (await of(session, owner).get(made.id)).name == "quick"


class TestDelete:
    async def test_gone_and_its_name_free(self, records: RecordService) -> None:
        made = await records.create(RecordCreate(name="a"))
        await records.delete(made.id)
        with pytest.raises(RecordNotFound):
            await records.get(made.id)
        with pytest.raises(RecordNotFound):
            await records.delete(made.id)
        await records.create(RecordCreate(name="a"))

    async def test_a_users_records_go_with_the_user(
        self, records: RecordService, db_session: AsyncSession
    ) -> None:
        made = await records.create(RecordCreate(name="a"))
        owner = await db_session.get(User, await db_session.scalar(select(Record.owner_id)))
        await db_session.delete(owner)
        await db_session.flush()
        assert await db_session.scalar(select(Record.id).where(Record.id == made.id)) is None


class TestList:
    async def test_pages_cover_everything_once_newest_first_even_with_equal_times(
        self, records: RecordService, db_session: AsyncSession
    ) -> None:
        # All made in one transaction: their created_at is the same, so only the id tells them apart.
        made = [await records.create(RecordCreate(name=str(number))) for number in range(7)]
        old = datetime(2020, 1, 1, tzinfo=UTC)
        for record in made[:2]:
            await db_session.execute(
                update(Record)
                .where(Record.id == record.id)
                .values(created_at=old + timedelta(microseconds=1))
            )
        seen, cursor, pages = [], None, 0
        while True:
            page = await records.list_page(RecordQuery(limit=3, cursor=cursor))
            seen += [item.name for item in page.items]
            pages += 1
            if (cursor := page.next_cursor) is None:
                break
        assert seen == ["6", "5", "4", "3", "2", "1", "0"]
        assert pages == 3

    async def test_a_full_last_page_has_no_next(self, records: RecordService) -> None:
        for name in "ab":
            await records.create(RecordCreate(name=name))
        assert (await records.list_page(RecordQuery(limit=2))).next_cursor is None

    async def test_inserting_while_paging_repeats_nothing(self, records: RecordService) -> None:
        for number in range(4):
            await records.create(RecordCreate(name=str(number)))
        first = await records.list_page(RecordQuery(limit=2))
        await records.create(RecordCreate(name="new"))
        second = await records.list_page(RecordQuery(limit=2, cursor=first.next_cursor))
        assert [item.name for item in first.items + second.items] == ["3", "2", "1", "0"]

    async def test_a_tag_is_matched_whole_and_not_as_a_pattern(self, records: RecordService) -> None:
        await records.create(RecordCreate(name="a", tags=["red", "50%"]))
        await records.create(RecordCreate(name="b", tags=["redder"]))
        assert [item.name for item in (await records.list_page(RecordQuery(tag="red"))).items] == ["a"]
        assert [item.name for item in (await records.list_page(RecordQuery(tag="50%"))).items] == ["a"]
        assert (await records.list_page(RecordQuery(tag="%"))).items == []

    async def test_the_list_is_read_from_its_index(self, db_session: AsyncSession) -> None:
        # The table is empty here, where a planner sorts; told not to, it shows whether the index could do it.
        for option in ("seqscan", "bitmapscan", "sort"):
            await db_session.execute(text(f"SET LOCAL enable_{option} = off"))
        plan = await db_session.scalars(
            text(
                "EXPLAIN SELECT * FROM records WHERE owner_id = '00000000-0000-0000-0000-000000000001'"
                " AND (created_at, id) < (now(), '00000000-0000-0000-0000-000000000001'::uuid)"
                " ORDER BY created_at DESC, id DESC LIMIT 51"
            )
        )
        lines = "\n".join(plan)
        assert "Index Scan Backward using ix_records_owner_id_created_at_id" in lines
        assert "Sort" not in lines


@pytest.mark.parametrize("values", [{"name": "  "}, {"name": "a", "tags": [str(n) for n in range(21)]}])
async def test_the_schema_holds_the_rules_too(
    db_session: AsyncSession, add_user: AddUser, values: dict[str, object]
) -> None:
    db_session.add(Record(owner_id=await add_user(db_session), **{"tags": [], "payload": {}, **values}))
    with pytest.raises(IntegrityError):
        await db_session.flush()


@pytest.mark.usefixtures("clean_database")
async def test_of_many_creators_of_one_name_exactly_one_wins(database: Database, add_user: AddUser) -> None:
    async with get_db_context(database) as session:
        owner = await add_user(session)

    async def create() -> bool:
        try:
            async with get_db_context(database) as session:
                await of(session, owner).create(RecordCreate(name="a"))
        except RecordNameTaken:
            return False
        return True

    assert sum(await asyncio.gather(*(create() for _ in range(8)))) == 1
