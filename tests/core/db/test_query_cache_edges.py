"""Results that must not be shown to somebody else, or not be kept at all."""

import math
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from pydantic import BaseModel
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database, cached_query, get_db_context
from app.core.db._query_footprint import footprint, table_tags
from app.core.db._query_values import pack, unpack
from app.core.valkey import ValkeyClient
from tests.cases import each_case
from tests.core.db.watched import Watched, watched
from tests.staff import Person, Template

__all__ = ["watched"]


@pytest.fixture
async def people(staff: None, database: Database) -> AsyncIterator[Database]:
    """Ann in ``staff``, Bea in a copy of it; a function that hides what it writes."""
    async with database.engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO staff.persons (id, ward, name, role, is_active, badge, rating, level, version)"
                " VALUES ('ann', 'A', 'Ann', 'R', true, 0, 0, 'JUNIOR', 1)"
            )
        )
        await connection.execute(text("CREATE SCHEMA copied"))
        await connection.execute(text("CREATE TABLE copied.persons AS SELECT * FROM staff.persons"))
        await connection.execute(text("UPDATE copied.persons SET name = 'Bea'"))
        await connection.execute(
            text(
                "CREATE FUNCTION staff.rename_all() RETURNS void LANGUAGE sql AS $$ UPDATE staff.persons SET name = 'Cid' $$"
            )
        )
    yield database
    async with database.engine.begin() as connection:
        await connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        await connection.execute(text("DROP SCHEMA copied CASCADE"))
        await connection.execute(text("DROP FUNCTION staff.rename_all"))
        await connection.execute(text("TRUNCATE staff.persons CASCADE"))


@cached_query(ttl=60, scope="public", tables=["staff.persons"])
async def unqualified(db: AsyncSession) -> list[str]:
    return list(await db.scalars(text("SELECT name FROM persons")))


@cached_query(ttl=60, scope="public")
async def names_of(db: AsyncSession) -> list[str]:
    return list(await db.scalars(select(Person.name)))


class TestElsewhere:
    @pytest.mark.parametrize(
        "way",
        [
            lambda schema: text(f"SET LOCAL search_path TO {schema}"),
            lambda schema: select(func.set_config("search_path", schema, True)),
            lambda schema: text(f"SELECT set_config('search_path', '{schema}', true)"),
        ],
    )
    async def test_another_schemas_rows_are_neither_shown_nor_kept(
        self, people: Database, watched: Watched, way: Any
    ) -> None:
        for schema, name in [("staff", "Ann"), ("copied", "Bea")] * 2:
            async with get_db_context(people) as db:
                await db.execute(way(schema))
                assert await unqualified(db) == [name]
        assert watched.told() == ["skipped"] * 4

    async def test_tables_that_are_translated_are_others(self, people: Database, watched: Watched) -> None:
        for _ in range(3):
            async with get_db_context(people) as db:
                assert await names_of(db) == ["Ann"]
        elsewhere = {"schema_translate_map": {"staff": "copied"}}
        async with AsyncSession(people.engine.execution_options(**elsewhere)) as db:
            assert await names_of(db) == ["Bea"]
        async with get_db_context(people) as db:
            await db.connection(execution_options=elsewhere)
            assert await names_of(db) == ["Bea"]
        # The second is a hit where another test has let the function learn its tables already.
        first, _, *rest = watched.told()
        assert (first, rest) == ("miss", ["hit", "skipped", "skipped"])

    @each_case(
        "sql",
        ["SET ROLE bob", "reset search_path", "SET SESSION AUTHORIZATION bob", "/* a */ SET LOCAL ROLE b"],
    )
    def test_whoever_becomes_somebody_else_sees_something_else(self, sql: str) -> None:
        assert footprint(sql).is_snapshot

    @each_case(
        "sql",
        ["SET LOCAL lock_timeout = '5s'", "SELECT set_config('app.tenant', '7', true)", "SELECT role FROM t"],
    )
    def test_other_settings_change_no_view(self, sql: str) -> None:
        assert not footprint(sql).is_snapshot


async def test_what_a_function_of_the_server_wrote_is_not_kept_before_its_commit(
    people: Database, watched: Watched
) -> None:
    for _ in range(2):
        async with get_db_context(people) as db:
            assert await names_of(db) == ["Ann"]
    await watched.cache.end_tags("table:staff.persons")
    async with people.session() as db:
        await db.execute(text("SELECT staff.rename_all()"))
        assert await names_of(db) == ["Cid"]
        await db.rollback()
    async with get_db_context(people) as db:
        assert await names_of(db) == ["Ann"]


@pytest.mark.parametrize("way", ["autocommit", "text"])
async def test_what_was_committed_past_the_session_has_ended_with_it(
    people: Database, watched: Watched, way: str
) -> None:
    for _ in range(2):
        async with get_db_context(people) as db:
            assert await names_of(db) == ["Ann"]
    async with people.session() as db:
        if way == "autocommit":
            await db.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        await db.execute(text("UPDATE staff.persons SET name = 'Dan'"))
        if way == "text":
            await db.execute(text("COMMIT"))
        await db.rollback()
    async with get_db_context(people) as db:
        assert await names_of(db) == ["Dan"]


async def test_functions_from_one_place_in_the_code_have_results_of_their_own(
    people: Database, watched: Watched
) -> None:
    def counter_of(model: Any, factor: int) -> Any:
        @cached_query(ttl=60, scope="public")
        async def count(db: AsyncSession) -> int:
            return factor * (await db.scalar(select(func.count()).select_from(model)) or 0)

        return count

    counters = [counter_of(Person, 1), counter_of(Person, 5), counter_of(Template, 1)]
    for _ in range(3):
        async with get_db_context(people) as db:
            assert [await count(db) for count in counters] == [1, 5, 0]
    assert watched.told()[-3:] == ["hit"] * 3


def test_a_partition_of_a_month_counts_as_its_table() -> None:
    assert table_tags(["events_log_y2026m01", "public.events_log"]) == {"table:events_log"}
    assert table_tags(["audit.events_log_y2026m12"]) == {"table:audit.events_log"}
    assert table_tags(["events_log_y2026"]) == {"table:events_log_y2026"}


class Reading(BaseModel):
    """Values that JSON has no place for."""

    level: float | None = None
    blob: bytes | None = None


class TestValues:
    async def test_a_hit_has_the_infinity_of_its_miss(self, people: Database, watched: Watched) -> None:
        @cached_query(ttl=60, scope="public", model=Reading)
        async def reading(db: AsyncSession) -> Any:
            await db.execute(select(Person.id))
            return {"level": math.inf}

        for _ in range(3):
            async with get_db_context(people) as db:
                assert await reading(db) == Reading(level=math.inf)
        assert watched.told() == ["miss", "miss", "hit"]

    @pytest.mark.parametrize("is_shaped", [True, False])
    async def test_what_cannot_be_kept_is_given_all_the_same(
        self, people: Database, watched: Watched, *, is_shaped: bool
    ) -> None:
        deep: Any = []
        for _ in range(5000):
            deep = [deep]
        value: Any = Reading(blob=b"\xff") if is_shaped else deep

        @cached_query(ttl=60, scope="public", model=Reading if is_shaped else None)
        async def made(db: AsyncSession) -> Any:
            await db.execute(select(Person.id))
            return value

        async with get_db_context(people) as db:
            assert await made(db) is value
        assert watched.told() == ["unkept", "miss"]

    @pytest.mark.parametrize(
        "payload", [b'{"uuid": 5}', b'{"decimal": "x"}', b"[]x", b'{"entity": ["tests.staff", "Person", 5]}']
    )
    async def test_what_somebody_else_put_there_is_asked_anew(
        self, people: Database, watched: Watched, store: ValkeyClient, payload: bytes
    ) -> None:
        for _ in range(2):
            async with get_db_context(people) as db:
                await names_of(db)
        for key in await store.execute("KEYS", "{p:*}:v1:e"):
            head, _, _ = bytes(await store.execute("GET", key)).partition(b"\n")
            await store.execute("SET", key, head + b"\n" + payload)
        async with get_db_context(people) as db:
            assert await names_of(db) == ["Ann"]
        assert "unreadable" in watched.told()

    @each_case(
        "packed",
        [
            '{"uuid": 5}', '{"row": []}', '{"timedelta": ["x"]}', '{"timedelta": [1e300, 0, 0]}', '{"enum": ["a"]}',
            '{"decimal": "x"}',
            '{"dict": [[[1], 2]]}', '{"dict": 5}', '{"set": [[1]]}', '{"entity": ["tests.staff", "Person", 5]}',
            '{"entity": [[], "x", {}]}',
            '{"datetime": 5}', "{}", '{"a": 1, "b": 2}',
        ],
    )  # fmt: skip
    def test_whatever_was_not_packed_is_said_to_be_no_value(self, packed: str) -> None:
        with pytest.raises(ValueError, match="value"):
            unpack(orjson.loads(packed))

    def test_too_many_levels_have_no_form(self) -> None:
        deep: Any = {}
        for _ in range(5000):
            deep = {"a": deep}
        with pytest.raises(TypeError, match="levels"):
            pack(deep)
