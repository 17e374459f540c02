from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.builtin.db_monitor.repository import StatementHistory, WindowUse
from app.builtin.db_monitor.service import StatementSampler
from app.core.db import Database, get_db_context
from app.core.monitor import MonitorServer, StatementUse

HOUR = timedelta(hours=1)
TAGGED = "SELECT name FROM records WHERE name = 'a secret' /*policy='{0}',route='%2F{0}'*/"
SHOWN = "SELECT name FROM records WHERE name = ?"


@pytest.fixture(autouse=True)
async def nothing_kept(counted: Database) -> AsyncIterator[None]:
    await forget(counted)  # a statement's text is that of its first call
    yield
    async with get_db_context(counted) as session:
        await session.execute(text("DELETE FROM monitor_statement_samples"))
        await session.execute(text("DELETE FROM monitor_statements"))


@pytest.fixture
def sampler(watched: MonitorServer, counted: Database) -> StatementSampler:
    return StatementSampler(watched, counted, months=2)


async def run(database: Database, statement: str, times: int) -> None:
    for _ in range(times):
        async with database.engine.connect() as connection:
            await connection.exec_driver_sql(statement)


async def history(
    database: Database,
) -> tuple[WindowUse, dict[str, StatementUse], dict[str, tuple[str, ...]]]:
    """The last hour: the whole, what each statement cost by its text, and the routes of each."""
    async with get_db_context(database) as session:
        kept = StatementHistory(session)
        window = await kept.window(HOUR)
        assert window is not None
        known = await kept.texts(window.uses)
    assert known.keys() == window.uses.keys()
    by_text = {known[queryid].text: use for queryid, use in window.uses.items()}
    return window, by_text, {statement.text: statement.routes for statement in known.values()}


async def forget(database: Database) -> None:
    """Somebody resets the server's counters of this database."""
    async with database.engine.connect() as connection:
        await connection.exec_driver_sql(
            "SELECT statistics.pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()"
        )


async def test_what_ran_between_two_runs_is_kept_exactly_without_values_and_noise(
    counted: Database, sampler: StatementSampler
) -> None:
    await run(counted, TAGGED.format("before"), 2)
    assert await sampler.sample() == 0
    await run(counted, TAGGED.format("a"), 3)
    await run(counted, "SELECT count(*) FROM pg_catalog.pg_class", 2)
    assert await sampler.sample() >= 2
    window, by_text, routes = await history(counted)
    assert by_text[SHOWN].calls == 3
    assert routes[SHOWN] == ("/before",)
    assert not any(
        "pg_catalog" in statement or "secret" in statement or "BEGIN" in statement for statement in by_text
    )
    assert window.total.calls >= 2 + sum(use.calls for use in by_text.values())
    assert window.total.total_us > by_text[SHOWN].total_us > 0
    await run(counted, TAGGED.format("a"), 4)
    await forget(counted)
    await run(counted, TAGGED.format("other"), 5)
    assert await sampler.sample() >= 2
    after, by_text, routes = await history(counted)
    # Four are lost with the counters, which is told; the text came anew and says another route.
    assert by_text[SHOWN].calls == 3 + 5
    assert routes[SHOWN] == ("/before", "/other")
    assert window.is_complete
    assert not after.is_complete
    assert after.since == window.since
    assert after.covered == after.until - after.since


async def test_an_interval_without_statements_is_one_of_zeros(
    counted: Database, sampler: StatementSampler
) -> None:
    await sampler.sample()
    await sampler.sample()
    await sampler.sample()
    window, by_text, _ = await history(counted)
    assert window.covered == window.until - window.since > timedelta(0)
    assert not any(name in statement for statement in by_text for name in ("records", "monitor_", "pg_"))


async def test_of_two_that_sample_none_counts_twice(
    watched: MonitorServer, counted: Database, sampler: StatementSampler
) -> None:
    other = StatementSampler(watched, counted, months=2)
    await run(counted, TAGGED.format("a"), 1)
    await sampler.sample()
    await other.sample()
    await run(counted, TAGGED.format("a"), 2)
    assert await other.sample() >= 2
    assert await sampler.sample() == 0
    await run(counted, TAGGED.format("a"), 4)
    assert await sampler.sample() >= 2
    assert await other.sample() == 0
    _, by_text, _ = await history(counted)
    assert by_text[SHOWN].calls == 6


async def test_what_could_not_be_written_is_written_the_next_time(
    counted: Database, sampler: StatementSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(counted, TAGGED.format("a"), 1)
    await sampler.sample()
    await run(counted, TAGGED.format("a"), 2)
    with monkeypatch.context() as patch:
        patch.setattr(StatementHistory, "put", _refuse)
        with pytest.raises(RuntimeError):
            await sampler.sample()
    await run(counted, TAGGED.format("a"), 3)
    assert await sampler.sample() >= 2
    _, by_text, _ = await history(counted)
    assert by_text[SHOWN].calls == 5


async def _refuse(*_: object) -> None:
    raise RuntimeError("no")


class _Closed(MonitorServer):
    """A server whose extension is in a schema that the monitor's role may not use."""

    @asynccontextmanager
    async def ask(self, **options: Any) -> AsyncIterator[Any]:
        async with super().ask(**options) as asked:
            await asked.execute("SET LOCAL ROLE pg_signal_backend")
            yield asked


async def said(work: Callable[[], Awaitable[object]]) -> list[str]:
    """The reasons for which nothing was sampled."""
    with capture_logs() as logs:
        await work()
    return [line["reason"] for line in logs if line["event"] == "monitor.statements_not_sampled"]


async def test_where_it_cannot_work_it_says_so_once_and_waits(
    counted: Database, watched: MonitorServer, database: Database
) -> None:
    plain = MonitorServer(database)
    without = StatementSampler(plain, database, months=2)
    assert await said(without.sample) == ["pg_stat_statements is not installed in this database"]
    assert await said(without.sample) == []
    now, facts = plain._clock.monotonic(), await plain.facts()
    plain._facts = (now, replace(facts, is_standby=True))
    assert await said(without.sample) == ["the server is a standby"]
    assert await said(without.sample) == []
    await without.keep()
    await plain.close()
    closed = _Closed(counted)
    reasons = await said(StatementSampler(closed, counted, months=2).sample)
    await closed.close()
    assert ["pg_monitor" in reason for reason in reasons] == [True]
    read_only = Database(f"{counted.url}", application_name="read-only")
    async with counted.engine.begin() as connection:
        name = await connection.scalar(text("SELECT current_database()"))
        await connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        refused = StatementSampler(watched, read_only, months=2)
        assert await said(refused.sample) == []
        assert await said(refused.sample) == ["the database is read-only"]
        assert await said(refused.keep) == []
    finally:
        async with counted.engine.connect() as connection:
            await connection.exec_driver_sql("SET default_transaction_read_only = off")
            await connection.exec_driver_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
            await connection.commit()
        await read_only.close()


async def test_old_months_and_texts_go_and_new_months_come(
    counted: Database, sampler: StatementSampler
) -> None:
    async with get_db_context(counted) as session:
        await session.execute(
            text(
                "CREATE TABLE monitor_statement_samples_y2001m11 PARTITION OF monitor_statement_samples"
                " FOR VALUES FROM ('2001-11-01Z') TO ('2001-12-01Z')"
            )
        )
        await session.execute(
            text(
                "INSERT INTO monitor_statements (queryid, text, first_seen, last_seen) VALUES"
                " (1, 'old', '2001-11-01Z', '2001-11-01Z'), (2, 'new', '2001-11-01Z', now())"
            )
        )
        newest = str(
            await session.scalar(
                text(
                    "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'monitor_statement_samples'::regclass"
                )
            )
        )
        await session.execute(text(f"DROP TABLE {newest}"))
    await sampler.keep()
    async with get_db_context(counted) as session:
        there = [
            name
            for (name,) in await session.execute(
                text(
                    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'monitor_statement_samples'::regclass"
                )
            )
        ]
        known = await StatementHistory(session).texts([1, 2])
    assert newest in there
    assert "monitor_statement_samples_y2001m11" not in there
    assert set(known) == {2}
