import asyncio
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text

from app.core.db import (
    AsyncSession,
    Database,
    EventLog,
    InvalidValue,
    get_db_context,
    keep_partitions,
    translate_errors,
)
from app.core.db._partitions import month_after
from tests.lock_waits import until_a_session_waits

LONG_AGO = date(2001, 11, 20)


async def place_of(session: AsyncSession, kind: str) -> str:
    found = await session.scalar(
        text("SELECT tableoid::regclass::text FROM events_log WHERE kind = :kind"), {"kind": kind}
    )
    return str(found)


async def test_an_event_of_now_has_a_partition(db_session: AsyncSession) -> None:
    db_session.add(EventLog(kind="now", subject="x"))
    await db_session.flush()
    assert (await place_of(db_session, "now")).startswith("events_log_y")
    assert await keep_partitions(db_session, "events_log") == ([], [])


async def test_months_are_made_once_and_rows_go_into_theirs(db_session: AsyncSession) -> None:
    made, old = await keep_partitions(db_session, "events_log", ahead=2, today=LONG_AGO)
    assert (made, old) == (["events_log_y2001m11", "events_log_y2001m12", "events_log_y2002m01"], [])
    assert await keep_partitions(db_session, "events_log", ahead=2, today=LONG_AGO) == ([], [])
    last = datetime(2001, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    db_session.add(EventLog(kind="last", subject="x", created_at=last))
    db_session.add(EventLog(kind="first", subject="x", created_at=datetime(2002, 1, 1, tzinfo=UTC)))
    await db_session.flush()
    assert await place_of(db_session, "last") == "events_log_y2001m12"
    assert await place_of(db_session, "first") == "events_log_y2002m01"


async def test_a_time_without_a_partition_is_refused(db_session: AsyncSession) -> None:
    db_session.add(EventLog(kind="x", subject="x", created_at=datetime(1999, 1, 1, tzinfo=UTC)))
    with pytest.raises(InvalidValue), translate_errors():
        await db_session.flush()


async def test_old_months_go_with_their_rows(db_session: AsyncSession) -> None:
    await keep_partitions(db_session, "events_log", ahead=2, today=LONG_AGO)
    db_session.add(EventLog(kind="old", subject="x", created_at=datetime(2001, 11, 30, tzinfo=UTC)))
    db_session.add(EventLog(kind="kept", subject="x", created_at=datetime(2001, 12, 1, tzinfo=UTC)))
    await db_session.flush()
    made, old = await keep_partitions(db_session, "events_log", ahead=0, keep=1, today=date(2002, 1, 31))
    assert (made, old) == ([], ["events_log_y2001m11"])
    kinds = (await db_session.scalars(select(EventLog.kind).order_by(EventLog.kind))).all()
    assert kinds == ["kept"]


async def test_a_query_by_time_reads_only_its_months(db_session: AsyncSession) -> None:
    await keep_partitions(db_session, "events_log", ahead=2, today=LONG_AGO)
    lines = await db_session.scalars(
        text(
            "EXPLAIN SELECT * FROM events_log WHERE created_at >= '2001-12-01Z' AND created_at < '2002-01-01Z'"
        )
    )
    plan = "\n".join(lines)
    assert "events_log_y2001m12" in plan
    assert "events_log_y2001m11" not in plan
    assert "events_log_y2002m01" not in plan


async def test_who_comes_second_waits_and_finds_the_months_made(empty_postgres_url: str) -> None:
    database = Database(empty_postgres_url)
    async with database.connect() as watcher:
        await watcher.execute(text("CREATE TABLE days (at timestamptz NOT NULL) PARTITION BY RANGE (at)"))
        async with get_db_context(database) as first:
            made, _ = await keep_partitions(first, "days", ahead=1, today=LONG_AGO)
            assert made == ["days_y2001m11", "days_y2001m12"]

            async def again() -> tuple[list[str], list[str]]:
                async with get_db_context(database) as second:
                    return await keep_partitions(second, "days", ahead=1, today=LONG_AGO)

            waiting = asyncio.create_task(again())
            await until_a_session_waits(database)
        assert await waiting == ([], [])
    await database.close()


@pytest.mark.parametrize(
    ("table", "options"), [("x; DROP", {}), ("x", {"ahead": -1}), ("x", {"ahead": 121}), ("x", {"keep": 0})]
)
async def test_options_out_of_range_are_refused(
    db_session: AsyncSession, table: str, options: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=r"must be|small letters"):
        await keep_partitions(db_session, table, **options)  # type: ignore[arg-type]


@given(st.dates(date(1000, 1, 1), date(3000, 12, 31)), st.integers(-240, 240))
def test_months_follow_each_other_without_gap(day: date, months: int) -> None:
    first, following = month_after(day, months), month_after(day, months + 1)
    assert first.day == 1
    assert 28 <= (following - first).days <= 31
    assert month_after(first, -months) == day.replace(day=1)
