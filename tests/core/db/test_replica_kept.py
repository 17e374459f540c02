"""What is kept is never read from a standby that lags: the rule of the caches, with a replay that is paused."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import (
    ReadSession,
    cached_db_query,
    cached_query,
    get_db_context,
    get_read_db_context,
)
from app.core.valkey import Cache, StoreDown, ValkeyClient, configure_cache, get_or_set_cache, get_or_set_many
from tests.core.db.replicas import IN_RECOVERY, NOTES, Bench, behind
from tests.standby import Pair

SQL = "SELECT count(*) AS n FROM notes"


@pytest.fixture(autouse=True)
async def cache(store: ValkeyClient, clean_store: None) -> AsyncIterator[Cache]:
    cache = Cache(store)
    configure_cache(cache)
    yield cache
    configure_cache(None)
    await cache.close()


@pytest.fixture
async def late(pair: Pair, bench: Bench) -> Bench:
    """The standby has no note, its primary one; reads go to the standby."""
    assert await bench.is_on_standby()
    await behind(pair)
    assert await bench.count() == 0
    return bench


@cached_query(ttl=60, scope="public")
async def notes(db: AsyncSession) -> int:
    return int(await db.scalar(NOTES) or 0)


def counting(late: Bench) -> Callable[[], Any]:
    """A plain function that reads by itself."""

    async def read() -> int:
        return await late.count()

    return read


class TestQueries:
    async def test_a_kept_result_is_read_from_the_primary(self, late: Bench) -> None:
        async with get_read_db_context(late.database) as session:
            # Twice: which tables it reads is known after the first time.
            assert [await notes(session), await notes(session)] == [1, 1]
        async with get_read_db_context(late.database) as session:
            assert await session.scalar(NOTES) == 0
            assert await notes(session) == 1  # kept, and newer than what this transaction sees

    async def test_so_is_one_in_text(self, late: Bench) -> None:
        async with get_read_db_context(late.database) as session:
            assert await cached_db_query(session, SQL, scope="public") == [{"n": 1}]

    async def test_a_transaction_that_has_begun_on_the_standby_is_answered_and_nothing_kept(
        self, late: Bench
    ) -> None:
        async with get_read_db_context(late.database) as session:
            assert await session.scalar(IN_RECOVERY)
            assert await notes(session) == 0
            assert await cached_db_query(session, SQL, scope="public") == [{"n": 0}]
        async with get_read_db_context(late.database) as session:
            assert await notes(session) == 1
            assert await cached_db_query(session, SQL, scope="public") == [{"n": 1}]

    async def test_what_is_made_after_a_write_shows_it_though_the_standby_does_not(self, late: Bench) -> None:
        async with get_read_db_context(late.database) as session:
            assert await notes(session) == 1
        async with get_db_context(late.database) as db:
            await db.execute(text("INSERT INTO notes VALUES ('y')"))
        for _ in range(2):
            async with get_read_db_context(late.database) as session:
                assert await notes(session) == 2
        assert await late.count() == 0

    async def test_both_kinds_of_sessions_share_what_is_kept(self, late: Bench) -> None:
        async with get_db_context(late.database) as db:
            assert [await notes(db), await notes(db)] == [1, 1]
        async with get_read_db_context(late.database) as session:
            await session.scalar(IN_RECOVERY)
            assert await notes(session) == 1  # that of the session that writes


class TestValues:
    async def test_a_value_that_is_kept_is_made_with_reads_of_the_primary(self, late: Bench) -> None:
        async def get() -> int:
            return await get_or_set_cache("notes", counting(late), ttl=60, scope="public")

        assert [await get(), await get()] == [1, 1]
        assert await late.count() == 0

    async def test_so_are_many(self, late: Bench) -> None:
        async def load(keys: Any) -> dict[str, int]:
            return dict.fromkeys(keys, await late.count())

        for _ in range(2):
            assert await get_or_set_many(["a", "b"], load, ttl=60, scope="public") == [1, 1]

    async def test_one_made_of_what_a_transaction_on_the_standby_shows_is_not_kept(self, late: Bench) -> None:
        async with get_read_db_context(late.database) as session:
            assert await session.scalar(IN_RECOVERY)

            async def through() -> int:
                return int(await session.scalar(NOTES) or 0)

            async def load(keys: Any) -> dict[str, int]:
                return dict.fromkeys(keys, await through())

            assert await get_or_set_cache("notes", through, ttl=60, scope="public") == 0
            assert await get_or_set_many(["a"], load, ttl=60, scope="public") == [0]
        assert await get_or_set_cache("notes", counting(late), ttl=60, scope="public") == 1

    async def test_nor_one_that_such_a_value_is_a_part_of(self, late: Bench) -> None:
        async with get_read_db_context(late.database) as session:
            assert await session.scalar(IN_RECOVERY)

            async def outer() -> dict[str, int]:
                return {"notes": await notes(session)}

            assert await get_or_set_cache("outer", outer, ttl=60, scope="public") == {"notes": 0}
        fresh = {"notes": 1}

        async def again() -> dict[str, int]:
            return fresh

        assert await get_or_set_cache("outer", again, ttl=60, scope="public") == fresh

    async def test_nor_when_somebody_else_made_that_part(
        self, late: Bench, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun, joined, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
        join = cache._join

        async def joining(*args: Any) -> Any:
            joined.set()
            return await join(*args)

        monkeypatch.setattr(cache, "_join", joining)

        async with get_read_db_context(late.database) as session:
            assert await session.scalar(IN_RECOVERY)

            async def part() -> int:
                begun.set()
                await go_on.wait()
                return int(await session.scalar(NOTES) or 0)

            async def whole() -> dict[str, int]:
                return {"notes": await get_or_set_cache("part", part, ttl=60, scope="public")}

            first = asyncio.create_task(get_or_set_cache("part", part, ttl=60, scope="public"))
            await begun.wait()
            second = asyncio.create_task(get_or_set_cache("whole", whole, ttl=60, scope="public"))
            await joined.wait()
            go_on.set()
            assert (await first, await second) == (0, {"notes": 0})

        async def again() -> str:
            return "anew"

        assert await get_or_set_cache("whole", again, ttl=60, scope="public") == "anew"

    async def test_while_the_store_is_away_nothing_is_kept_and_the_standby_may_serve(
        self, late: Bench, cache: Cache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def away(*_: Any) -> Any:
            raise StoreDown("away")

        monkeypatch.setattr(cache, "lookup", away)
        async with get_read_db_context(late.database) as session:
            assert type(session) is ReadSession
            assert await notes(session) == 0
