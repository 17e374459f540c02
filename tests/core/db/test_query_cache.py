"""Results that are kept, and when they end."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.context import Principal, RequestContext, reset_context, set_context
from app.core.db import (
    CommitOutcomeUnknown,
    ConstraintViolated,
    Database,
    QueryDecorator,
    cached_db_query,
    cached_query,
    get_db_context,
    invalidate_table_cache,
)
from app.core.db._lone_statement import noted
from app.core.db._query_notes import _ending
from app.core.errors import ConfigurationError
from app.core.security import configure_encryption
from app.core.valkey import ValkeyClient
from tests.core.db.patients import Patient, admit, wards
from tests.core.db.watched import Watched, watched
from tests.staff import Person, Template

__all__ = ["watched"]

COUNT = "SELECT count(*) AS n FROM staff.persons"
calls: Counter[str] = Counter()


async def get_nothing(_: AsyncSession) -> None: ...


@pytest.fixture
async def people(staff: None, database: Database) -> AsyncIterator[Database]:
    """Ann of ward A and a template; everything goes after the test."""
    calls.clear()
    async with get_db_context(database) as db:
        db.add_all([Person(id="ann", name="Ann", pay="1.50"), Template(id=1, title="day")])
    yield database
    async with get_db_context(database) as db:
        await db.execute(text("TRUNCATE staff.persons, staff.templates CASCADE"))


@cached_query(ttl=60)
async def names_of(db: AsyncSession, ward: str = "A") -> list[str]:
    calls["names_of"] += 1
    return list(await db.scalars(select(Person.name).where(Person.ward == ward).order_by(Person.name)))


@cached_query(ttl=60)
async def titles(db: AsyncSession) -> list[str]:
    return list(await db.scalars(select(Template.title)))


async def ask(database: Database) -> list[str]:
    async with get_db_context(database) as db:
        return await names_of(db)


async def learned(database: Database, watched: Watched) -> None:
    """Both functions have shown their tables, and have a result."""
    for _ in range(2):
        async with get_db_context(database) as db:
            await names_of(db)
            await titles(db)
    async with get_db_context(database) as db:
        await names_of(db)
        await titles(db)
    assert watched.told()[-2:] == ["hit", "hit"]


class TestInvalidation:
    @pytest.mark.parametrize("way", ["orm", "core", "bulk", "raw", "raw in a CTE", "driver"])
    async def test_a_write_ends_what_was_read_from_its_table(
        self, people: Database, watched: Watched, way: str
    ) -> None:
        await learned(people, watched)
        async with get_db_context(people) as db:
            match way:
                case "orm":
                    (await db.get_one(Person, "ann")).name = "Bea"
                case "core":
                    await db.execute(update(Person.__table__).values(name="Bea", version=2))  # type: ignore[arg-type]
                case "bulk":
                    await db.execute(update(Person), [{"id": "ann", "name": "Bea", "version": 1}])
                case "raw":
                    await db.execute(text("UPDATE staff.persons SET name = 'Bea'"))
                case "driver":
                    await (await db.connection()).exec_driver_sql("UPDATE staff.persons SET name = 'Bea'")
                case _:
                    await db.execute(
                        text(
                            "WITH x AS (UPDATE staff.persons SET name = 'Bea' RETURNING 1) SELECT count(*) FROM x"
                        )
                    )
        assert await ask(people) == ["Bea"]

    async def test_another_tables_results_stay(self, people: Database, watched: Watched) -> None:
        await learned(people, watched)
        async with get_db_context(people) as db:
            await db.execute(insert(Template).values(id=2, title="night"))
        async with get_db_context(people) as db:
            assert await names_of(db) == ["Ann"]
            assert sorted(await titles(db)) == ["day", "night"]
        assert watched.told() == ["hit", "miss"]

    async def test_a_rollback_ends_nothing(self, people: Database, watched: Watched) -> None:
        await learned(people, watched)
        async with people.session() as db:
            await db.execute(delete(Person))
            await db.rollback()
        assert await ask(people) == ["Ann"]
        assert watched.told() == ["hit"]

    async def test_a_commit_that_is_cancelled_while_it_tells_the_cache_ends_it_all_the_same(
        self, people: Database, watched: Watched, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await learned(people, watched)
        telling, go_on, end_tags = asyncio.Event(), asyncio.Event(), watched.cache.end_tags
        done = asyncio.Event()

        async def slow(*tags: str) -> None:
            telling.set()
            await go_on.wait()
            await end_tags(*tags)
            done.set()

        async def write() -> None:
            async with get_db_context(people) as db:
                await db.execute(update(Person).values(name="Bea"))

        monkeypatch.setattr(watched.cache, "end_tags", slow)
        writing = asyncio.create_task(write())
        await telling.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        go_on.set()
        await done.wait()
        assert await ask(people) == ["Bea"]

    async def test_what_nobody_was_told_of_is_ended_by_hand(self, people: Database, watched: Watched) -> None:
        await learned(people, watched)
        async with people.connect() as connection:  # no session: nobody is told
            await connection.execute(text("UPDATE staff.persons SET name = 'Bea'"))
        assert await ask(people) == ["Ann"]
        await invalidate_table_cache("staff.persons")
        assert await ask(people) == ["Bea"]

    @pytest.mark.parametrize("names", [(), ("",), ("users", " ")])
    async def test_to_end_by_hand_takes_names(self, watched: Watched, names: tuple[str, ...]) -> None:
        with pytest.raises(ConfigurationError, match="names of tables"):
            await invalidate_table_cache(*names)


class TestFetch:
    async def test_a_write_ends_what_was_read_from_its_table_only(
        self, people: Database, watched: Watched
    ) -> None:
        await learned(people, watched)
        await people.fetch("UPDATE staff.persons SET name = $1", "Bea")
        async with get_db_context(people) as db:
            assert (await names_of(db), await titles(db)) == (["Bea"], ["day"])
        assert watched.told() == ["miss", "hit"]

    async def test_reads_and_what_was_refused_end_nothing(self, people: Database, watched: Watched) -> None:
        await learned(people, watched)
        await people.fetch("SELECT name FROM staff.persons")
        with pytest.raises(ConstraintViolated):
            await people.fetch("INSERT INTO staff.persons SELECT * FROM staff.persons")
        assert await ask(people) == ["Ann"]
        assert watched.told() == ["hit"]

    async def test_a_write_that_is_cancelled_ends_it_all_the_same(
        self, people: Database, watched: Watched, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await learned(people, watched)
        telling, ended, end_tags = asyncio.Event(), asyncio.Event(), watched.cache.end_tags

        async def slow(*tags: str) -> None:
            telling.set()
            await asyncio.sleep(0)
            await end_tags(*tags)
            ended.set()

        monkeypatch.setattr(watched.cache, "end_tags", slow)
        writing = asyncio.create_task(people.fetch("UPDATE staff.persons SET name = 'Bea'"))
        async with asyncio.timeout(5):
            await telling.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        async with asyncio.timeout(5):
            await ended.wait()
        assert await ask(people) == ["Bea"]

    @pytest.mark.parametrize("ending", [CommitOutcomeUnknown, asyncio.CancelledError])
    async def test_a_write_that_may_have_been_done_ends_it(
        self, people: Database, watched: Watched, ending: type[BaseException]
    ) -> None:
        await learned(people, watched)

        async def write() -> None:
            async with noted("UPDATE staff.persons SET name = 'Bea'"):
                async with people.connect() as connection:
                    await connection.execute(text("UPDATE staff.persons SET name = 'Bea'"))
                raise ending

        with pytest.raises(ending):
            await write()
        await asyncio.gather(*_ending)
        assert await ask(people) == ["Bea"]

    async def test_what_a_kept_result_reads_with_it_counts(self, people: Database, watched: Watched) -> None:
        @cached_query(ttl=60)
        async def names(kind: str) -> list[str]:
            return [row[0] for row in await people.fetch("SELECT name || $1 FROM staff.persons", kind)]

        assert [await names("!") for _ in range(3)] == [["Ann!"]] * 3
        assert watched.told() == ["miss", "miss", "hit"]
        await people.fetch("UPDATE staff.persons SET name = 'Bea'")
        assert await names("!") == ["Bea!"]


class TestTransactions:
    async def test_who_has_written_sees_his_own_and_keeps_nothing(
        self, people: Database, watched: Watched
    ) -> None:
        await learned(people, watched)
        async with people.session() as db:
            db.add(Person(name="Bea"))  # not even flushed
            assert await names_of(db) == ["Ann", "Bea"]
            await db.flush()
            assert await names_of(db) == ["Ann", "Bea"]
            assert watched.told() == ["skipped", "skipped"]
            assert await ask(people) == ["Ann"]
            await db.commit()
            assert await names_of(db) == ["Ann", "Bea"]
        assert watched.told() == ["hit", "miss"]

    @pytest.mark.parametrize("how", ["option", "text"])
    async def test_a_snapshot_of_its_own_keeps_nothing(
        self, people: Database, watched: Watched, how: str
    ) -> None:
        await learned(people, watched)
        async with people.session() as old:
            if how == "option":
                await old.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            else:
                await old.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            await old.execute(select(Template.id))
            async with get_db_context(people) as db:
                await db.execute(update(Person).values(name="Bea"))
            assert await names_of(old) == ["Ann"]
        assert await ask(people) == ["Bea"]

    async def test_objects_that_the_session_holds_are_not_kept_in_their_old_state(
        self, people: Database, watched: Watched
    ) -> None:
        async with people.session() as old:
            ann = await old.get_one(Person, "ann")
            async with get_db_context(people) as db:
                await db.execute(update(Person).values(name="Bea"))
            assert [person.name for person in await all_people(old)] == ["Bea"]
            assert ann.name == "Ann"
            assert [person.name for person in await all_people(old)] == ["Bea"]

    async def test_no_writer_ever_reads_what_was_there_before_his_commit(
        self, people: Database, watched: Watched
    ) -> None:
        async with get_db_context(people) as db:
            await db.execute(insert(Template), [{"id": number, "title": "0"} for number in range(10, 14)])

        async def write(number: int) -> None:
            for turn in range(1, 16):
                async with get_db_context(people) as db:
                    await db.execute(update(Template).where(Template.id == number).values(title=str(turn)))
                async with get_db_context(people) as db:
                    assert int((await all_titles(db))[number]) == turn

        async def read() -> None:
            last: dict[int, int] = {}
            for _ in range(60):
                async with get_db_context(people) as db:
                    now = {key: int(title) for key, title in (await all_titles(db)).items() if key >= 10}
                # Nobody waits for anybody here, yet what one reader has seen does not go back either.
                assert all(now[key] >= last.get(key, 0) for key in now)
                last = now
                await asyncio.sleep(0)

        await asyncio.gather(*(write(number) for number in range(10, 14)), read(), read())
        assert "hit" in watched.told()


@cached_query(ttl=60)
async def all_people(db: AsyncSession) -> list[Person]:
    calls["all_people"] += 1
    return list(await db.scalars(select(Person).order_by(Person.name)))


@cached_query(ttl=60)
async def all_titles(db: AsyncSession) -> dict[int, str]:
    rows = await db.execute(select(Template.id, Template.title))
    return {row.id: row.title for row in rows}


@contextmanager
def request_of(principal: Principal | None) -> Iterator[None]:
    """As inside a request of this caller."""
    token = set_context(RequestContext(principal=principal, request_id="r"))
    yield
    reset_context(token)


class Shown(BaseModel):
    id: str
    name: str


class TestKeeping:
    async def test_one_caller_asks_for_all(self, people: Database, watched: Watched) -> None:
        await learned(people, watched)
        await invalidate_table_cache("staff.persons")
        calls.clear()
        results = await asyncio.gather(*(ask(people) for _ in range(8)))
        assert results == [["Ann"]] * 8
        assert calls["names_of"] == 1

    async def test_arguments_make_the_key(self, people: Database, watched: Watched) -> None:
        async with get_db_context(people) as db:
            assert await names_of(db) == await names_of(db, ward="A") == ["Ann"]
            assert await names_of(db, "B") == []

    async def test_mapped_objects_come_back_detached_the_first_time_too(
        self, people: Database, watched: Watched
    ) -> None:
        for _ in range(3):
            async with get_db_context(people) as db:
                (ann,) = await all_people(db)
                assert ann not in db
            assert (ann.id, ann.name, str(ann.pay), ann.level.name) == ("ann", "Ann", "1.50", "JUNIOR")
        assert calls["all_people"] < 3

    async def test_a_model_shapes_hits_and_misses(self, people: Database, watched: Watched) -> None:
        @QueryDecorator.cache_result(ttl_seconds=60, model=list[Shown])
        async def shown(db: AsyncSession) -> list[Any]:
            return list(await db.scalars(select(Person)))

        for _ in range(3):
            async with get_db_context(people) as db:
                assert await shown(db) == [Shown(id="ann", name="Ann")]
        assert watched.told() == ["miss", "miss", "hit"]

    async def test_tables_that_a_later_run_reads_count_too(self, people: Database, watched: Watched) -> None:
        @cached_query(ttl=60)
        async def either(db: AsyncSession, *, of_people: bool) -> list[str]:
            return list(await db.scalars(select(Person.name if of_people else Template.title)))

        for of_people in (False, False, True, True, True):
            async with get_db_context(people) as db:
                await either(db, of_people=of_people)
        assert watched.told() == ["miss", "miss", "unkept", "miss", "miss", "hit"]
        async with get_db_context(people) as db:
            await db.execute(update(Person).values(name="Bea"))
        async with get_db_context(people) as db:
            assert await either(db, of_people=True) == ["Bea"]

    async def test_one_that_is_made_of_another_that_was_kept_ends_with_its_tables(
        self, people: Database, watched: Watched
    ) -> None:
        @cached_query(ttl=60)
        async def greeting(db: AsyncSession) -> str:
            return f"{(await titles(db))[0]}, {(await names_of(db))[0]}"

        await learned(people, watched)
        for _ in range(3):
            async with get_db_context(people) as db:
                assert await greeting(db) == "day, Ann"
        assert watched.told()[-1] == "hit"
        async with get_db_context(people) as db:
            await db.execute(update(Person).values(name="Bea"))
        async with get_db_context(people) as db:
            assert await greeting(db) == "day, Bea"

    async def test_one_that_writes_is_done_each_time(self, people: Database, watched: Watched) -> None:
        @cached_query(ttl=60, tables=["staff.persons"])
        async def visit(db: AsyncSession) -> int:
            await db.execute(text("UPDATE staff.templates SET title = title || '!'"))
            return int(await db.scalar(text(COUNT)) or 0)

        for _ in range(2):
            async with get_db_context(people) as db:
                assert await visit(db) == 1
        assert Counter(watched.told()) == {"miss": 2, "unkept": 2}
        async with get_db_context(people) as db:
            assert await titles(db) == ["day!!"]

    async def test_one_that_opens_a_snapshot_of_its_own_is_not_kept(
        self, people: Database, watched: Watched
    ) -> None:
        @cached_query(ttl=60, tables=["staff.persons"])
        async def count() -> int:
            async with people.engine.connect() as bare:
                old = await bare.execution_options(isolation_level="REPEATABLE READ")
                return int(await old.scalar(text(COUNT)) or 0)

        assert [await count() for _ in range(2)] == [1, 1]
        assert Counter(watched.told()) == {"miss": 2, "unkept": 2}

    async def test_told_tables_are_known_before_the_first_run(
        self, people: Database, watched: Watched
    ) -> None:
        @cached_query(ttl=60, tables=["staff.persons"])
        async def count(db: AsyncSession) -> Any:
            return await db.scalar(text(COUNT))

        for expected in (1, 1):
            async with get_db_context(people) as db:
                assert await count(db) == expected
        assert watched.told() == ["miss", "hit"]

    async def test_callers_do_not_share(self, people: Database, watched: Watched) -> None:
        await learned(people, watched)
        for _ in range(2):
            with request_of(Principal(id=str(uuid4()))):
                assert await ask(people) == ["Ann"]
        assert watched.told() == ["miss", "miss"]
        with request_of(None):
            assert await ask(people) == ["Ann"]
        assert watched.told() == ["skipped"]

    async def test_what_makes_no_key_is_refused_by_name(self, people: Database, watched: Watched) -> None:
        @cached_query(ttl=60)
        async def of(db: AsyncSession, what: object) -> None:
            """Never run."""

        async with get_db_context(people) as db:
            with pytest.raises(ConfigurationError, match="cannot tell one object from another"):
                await of(db, object())

    @pytest.mark.parametrize("tables", [[""], ["users", " "]])
    def test_a_table_without_a_name_stops_the_start(self, tables: list[str]) -> None:
        with pytest.raises(ConfigurationError, match="needs a name"):
            cached_query(ttl=60, tables=tables)(get_nothing)

    async def test_a_table_whose_name_is_blank_is_one_like_others(self, db_session: AsyncSession) -> None:
        await db_session.execute(text('CREATE TABLE " " AS SELECT 7 AS n'))
        assert await db_session.scalar(text('SELECT n FROM " "')) == 7

    @pytest.mark.parametrize("ttl", [0, -1, 86_401, True])
    def test_a_ttl_out_of_range_is_refused(self, ttl: float) -> None:
        with pytest.raises(ConfigurationError, match="ttl must be"):
            cached_query(ttl=ttl)

    def test_plain_functions_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="async"):
            cached_query(ttl=1)(lambda: None)  # type: ignore[arg-type,return-value]


class TestText:
    async def test_rows_are_kept_until_a_write(self, people: Database, watched: Watched) -> None:
        async with get_db_context(people) as db:
            for _ in range(2):
                assert await cached_db_query(db, COUNT, ttl=60) == [{"n": 1}]
        assert watched.told() == ["miss", "hit"]
        async with get_db_context(people) as db:
            db.add(Person(name="Bea"))
        async with get_db_context(people) as db:
            assert await cached_db_query(db, COUNT, ttl=60) == [{"n": 2}]

    async def test_parameters_and_types(self, people: Database, watched: Watched) -> None:
        sql = "SELECT id, pay, created_at, tags FROM staff.persons WHERE name = :name"
        async with get_db_context(people) as db:
            made = await cached_db_query(db, sql, {"name": "Ann"}, ttl=60, tables=["staff.persons"])
            assert await cached_db_query(db, sql, {"name": "Ann"}, ttl=60, tables=["staff.persons"]) == made
            assert await cached_db_query(db, sql, {"name": "Bea"}, ttl=60, tables=["staff.persons"]) == []
        assert watched.told() == ["miss", "hit", "miss"]
        assert made[0]["created_at"].tzinfo is not None

    @pytest.mark.parametrize("sql", ["DELETE FROM staff.persons", "CREATE TABLE x ()", "CALL x()"])
    async def test_what_writes_is_refused(self, people: Database, watched: Watched, sql: Any) -> None:
        async with get_db_context(people) as db:
            with pytest.raises(ConfigurationError, match="only reads"):
                await cached_db_query(db, sql)


class TestSecrets:
    @pytest.fixture(autouse=True)
    async def patients(self, database: Database) -> AsyncIterator[None]:
        configure_encryption(["a key of the tests, thirty-two bytes or more"])
        async with wards(database):
            await admit(database, 1)
            yield
        configure_encryption(None)

    async def test_what_was_decrypted_is_not_kept(
        self, database: Database, watched: Watched, store: ValkeyClient
    ) -> None:
        @cached_query(ttl=60, tables=["wards.patients"])
        async def numbers(db: AsyncSession) -> list[str | None]:
            return list(await db.scalars(select(Patient.ssn)))

        for _ in range(2):
            async with get_db_context(database) as db:
                assert await numbers(db) == ["number 1"]
        assert watched.told() == ["unkept", "miss"] * 2

    async def test_sealed_it_is_kept_and_nowhere_readable(
        self, database: Database, watched: Watched, store: ValkeyClient
    ) -> None:
        @cached_query(ttl=60, tables=["wards.patients"], sealed=True)
        async def numbers(db: AsyncSession) -> list[str | None]:
            return list(await db.scalars(select(Patient.ssn)))

        for _ in range(2):
            async with get_db_context(database) as db:
                assert await numbers(db) == ["number 1"]
        assert watched.told() == ["miss", "hit"]
        entries = [key for key in await store.execute("KEYS", "*") if key.endswith(b":v1:e") or b":e:" in key]
        assert entries
        assert not any([b"number 1" in (await store.execute("GET", key) or b"") for key in entries])

    async def test_a_query_on_a_sealed_one_is_not_kept_open(
        self, database: Database, watched: Watched
    ) -> None:
        @cached_query(ttl=60, tables=["wards.patients"], sealed=True)
        async def numbers(db: AsyncSession) -> list[str | None]:
            return list(await db.scalars(select(Patient.ssn)))

        @cached_query(ttl=60, tables=["wards.patients"])
        async def first(db: AsyncSession) -> str | None:
            return (await numbers(db))[0]

        for _ in range(2):
            async with get_db_context(database) as db:
                assert await first(db) == "number 1"
        assert watched.told() == ["miss", "unkept", "miss", "hit", "unkept", "miss"]
