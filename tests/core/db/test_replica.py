"""Reads on a real standby: when they go there, when not, and that nobody notices."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from app.core.db import (
    Database,
    DatabaseUnavailable,
    PoolExhausted,
    ReadSession,
    Replica,
    get_db,
    get_db_context,
    get_read_db,
    get_read_db_context,
    session_scope,
    translate_errors,
)
from app.core.db._replica import judged
from app.core.errors import ConfigurationError
from tests.cases import each_case
from tests.core.db.replicas import IN_RECOVERY, NOTES, PAUSE, Bench, Make, behind
from tests.standby import Pair

dependency, reading = asynccontextmanager(get_db), asynccontextmanager(get_read_db)
WRITE = text("INSERT INTO notes VALUES ('x')")


class TestWhereTo:
    async def test_reads_to_the_standby_and_writes_to_the_primary(self, bench: Bench) -> None:
        assert await bench.is_on_standby()
        async with get_db_context(bench.database) as session:
            assert not await session.scalar(IN_RECOVERY)
            await session.execute(WRITE)

    async def test_to_the_primary_for_who_must_see_what_was_committed_last(
        self, pair: Pair, bench: Bench
    ) -> None:
        await behind(pair)
        assert [await bench.count(), await bench.count(fresh=True)] == [0, 1]

    async def test_to_the_primary_as_soon_as_the_request_has_written(self, pair: Pair, bench: Bench) -> None:
        await pair.on_standby(PAUSE)
        with session_scope(bench.database):
            async with dependency() as db, reading() as reader:
                assert await reader.scalar(NOTES) == 0
                assert await reader.scalar(IN_RECOVERY)
                await reader.commit()
                await db.execute(WRITE)
                assert not await reader.scalar(IN_RECOVERY)
                await reader.commit()
                await db.commit()
                assert await reader.scalar(NOTES) == 1
            async with reading() as reader:
                assert await reader.scalar(NOTES) == 1

    async def test_also_when_it_has_written_past_its_own_session(self, pair: Pair, bench: Bench) -> None:
        await pair.on_standby(PAUSE)
        with session_scope(bench.database):
            async with get_db_context(bench.database) as own:
                await own.execute(WRITE)
            async with reading() as reader:
                assert await reader.scalar(NOTES) == 1
            assert await bench.count() == 1
        assert await bench.count() == 0  # the next request

    async def test_also_when_a_statement_of_its_own_wrote(self, pair: Pair, bench: Bench) -> None:
        await pair.on_standby(PAUSE)
        with session_scope(bench.database):
            await bench.database.fetch("SELECT 1")
            assert await bench.is_on_standby()
            await bench.database.fetch("INSERT INTO notes VALUES ('x')")
            assert await bench.count() == 1

    async def test_a_session_that_wrote_nothing_sends_nobody_to_the_primary(self, bench: Bench) -> None:
        with session_scope(bench.database):
            async with dependency(), reading() as reader:
                assert await reader.scalar(IN_RECOVERY)

    async def test_one_transaction_stays_on_one_server(self, pair: Pair, bench: Bench) -> None:
        async with get_read_db_context(bench.database) as session:
            assert await session.scalar(IN_RECOVERY)
            bench.replica.lost("a test")
            assert await session.scalar(IN_RECOVERY)
            await session.rollback()
            assert not await session.scalar(IN_RECOVERY)

    async def test_a_savepoint_is_on_the_server_of_its_transaction(self, bench: Bench) -> None:
        async with get_read_db_context(bench.database) as session:
            async with session.begin_nested():
                assert await session.scalar(IN_RECOVERY)
            assert await session.scalar(IN_RECOVERY)

    async def test_a_snapshot_can_be_had_there(self, bench: Bench) -> None:
        async with get_read_db_context(bench.database) as session:
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            level = await session.scalar(text("SELECT current_setting('transaction_isolation')"))
            assert (level, await session.scalar(IN_RECOVERY)) == ("repeatable read", True)

    async def test_rows_can_be_streamed_from_there(self, bench: Bench) -> None:
        async with get_read_db_context(bench.database) as session:
            rows = await session.stream(text("SELECT pg_is_in_recovery() FROM generate_series(1, 3)"))
            assert [bool(row[0]) async for row in rows] == [True] * 3

    async def test_the_metrics_tell(self, pair: Pair, make: Make) -> None:
        bench = make(application_name="told")
        await bench.is_on_standby()
        await bench.is_on_standby(fresh=True)

        def told(name: str, **labels: str) -> float | None:
            return REGISTRY.get_sample_value(name, {"pool": "told-replica", **labels})

        reads = "gatehouse_read_transactions_total"
        assert told(reads, server="replica", reason="close") == 1
        assert told(reads, server="primary", reason="fresh") == 1
        assert told("gatehouse_replica_used") == 1
        assert told("gatehouse_pool_size") == 1
        pair.standby.kill()
        await bench.is_on_standby()
        await bench.is_on_standby()
        assert told(reads, server="replica", reason="close") == 1
        assert told(reads, server="primary", reason="down") == 2
        assert told("gatehouse_replica_used") == 0


class TestLag:
    async def test_within_the_limit_an_older_state_is_read(self, pair: Pair, bench: Bench) -> None:
        await behind(pair)
        assert await bench.look() == "close"
        assert await bench.count() == 0
        assert bench.replica.status.lag_s is not None
        assert bench.replica.status.lag_s > 0

    async def test_above_it_reads_go_to_the_primary_until_the_standby_has_caught_up(
        self, pair: Pair, make: Make
    ) -> None:
        bench = make(max_lag_s=0.0)
        await bench.becomes("close")
        await behind(pair)
        assert await bench.look() == "behind"
        assert await bench.count() == 1
        await pair.mend()
        await bench.becomes("close")
        assert await bench.is_on_standby()

    @each_case(
        ("is_standby", "has_all", "behind_s", "found"),
        [
            (True, True, None, ("close", 0.0)),
            (True, True, 500.0, ("close", 0.0)),  # the primary is idle
            (True, False, 10.0, ("close", 10.0)),
            (True, False, 10.1, ("behind", 10.1)),
            (True, False, -3.0, ("close", 0.001)),  # its clock is late
            (True, False, None, ("behind", None)),
            (True, None, 1.0, ("unknown", None)),
            (False, None, None, ("no_standby", None)),
            (False, True, 0.0, ("no_standby", None)),
        ],
    )
    def test_what_an_answer_means(
        self, is_standby: bool, has_all: bool | None, behind_s: float | None, found: Any
    ) -> None:
        status = judged(10.0, is_standby=is_standby, has_all=has_all, behind_s=behind_s)
        assert (status.state, status.lag_s) == found

    async def test_a_server_that_is_no_standby_gets_no_reads(self, pair: Pair, make: Make) -> None:
        bench = make(url=pair.primary.url())
        assert not await bench.is_on_standby()
        assert bench.replica.status.state == "no_standby"
        assert bench.replica.database.pool_status().open == 0


class TestProbes:
    async def test_one_for_all_who_come_at_once_and_no_other_within_a_second(self, bench: Bench) -> None:
        assert await asyncio.gather(*(bench.is_on_standby() for _ in range(10))) == [True] * 10
        bench.clock.advance(0.9)
        assert await bench.is_on_standby()
        assert bench.replica.probes == 1

    async def test_nobody_waits_for_one_while_the_last_is_recent(self, pair: Pair, make: Make) -> None:
        bench = make(max_lag_s=0.0)
        await bench.becomes("close")
        await behind(pair)
        bench.clock.advance(4.9)
        assert await bench.count() == 0  # sent there by what was found before; asks anew beside it
        assert (await bench.replica.check()).state == "behind"
        assert await bench.count() == 1

    async def test_who_comes_after_a_long_time_waits_for_it(self, pair: Pair, make: Make) -> None:
        bench = make(max_lag_s=0.0)
        await bench.becomes("close")
        await behind(pair)
        bench.clock.advance(5)
        assert await bench.count() == 1

    async def test_it_needs_none_of_the_pool_s_connections(self, make: Make) -> None:
        bench = make(pool_size=1, max_overflow=0, pool_timeout_s=0.05)
        async with get_read_db_context(bench.database) as session:
            assert await session.scalar(IN_RECOVERY)
            assert await bench.look() == "close"
            # A busy replica is none that is down: its load is not for the primary.
            with pytest.raises(PoolExhausted), translate_errors():
                await bench.is_on_standby()
        assert bench.replica.status.state == "close"

    async def test_it_needs_none_of_the_primary_s_either(self, pair: Pair, make: Make) -> None:
        bench = make(max_lag_s=0.0, patience_s=1.0, primary={"pool_size": 1, "max_overflow": 0})
        assert await bench.is_on_standby()
        await behind(pair)
        async with bench.database.connect():
            assert await bench.look() == "behind"

    async def test_while_the_primary_is_away_reads_go_on(self, pair: Pair, bench: Bench) -> None:
        assert await bench.is_on_standby()
        pair.primary.kill()
        assert await bench.look() == "close"
        assert await bench.is_on_standby()

    async def test_one_who_never_heard_of_the_primary_asks_it(self, pair: Pair, bench: Bench) -> None:
        pair.primary.kill()
        with pytest.raises(DatabaseUnavailable):
            await bench.is_on_standby()
        assert bench.replica.status.state == "unknown"

    async def test_closed_it_leaves_nothing_and_can_be_used_again(self, pair: Pair, bench: Bench) -> None:
        assert await bench.is_on_standby()
        await bench.database.close()
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'gatehouse%'"
        async with asyncio.timeout(60):
            while await pair.on_standby(sessions):
                pass
        assert await bench.is_on_standby()


class TestOutage:
    async def test_a_killed_standby_costs_nobody_an_error_and_is_used_again_when_it_is_back(
        self, pair: Pair, bench: Bench
    ) -> None:
        assert await bench.is_on_standby()
        pair.standby.kill()
        assert not await bench.is_on_standby()
        assert bench.replica.status.state == "down"
        assert await bench.look() == "down"
        assert not await bench.is_on_standby()
        await pair.mend()
        await bench.becomes("close")
        assert await bench.is_on_standby()

    @pytest.mark.parametrize("end", ["kill", "stop"])
    async def test_the_end_of_a_connection_is_seen_before_the_loop_hears_of_it(
        self, pair: Pair, bench: Bench, end: str
    ) -> None:
        async with (
            get_read_db_context(bench.database) as first,
            get_read_db_context(bench.database) as second,
        ):
            assert [await first.scalar(IN_RECOVERY), await second.scalar(IN_RECOVERY)] == [True, True]
        getattr(pair.standby, end)()
        assert await asyncio.gather(*(bench.is_on_standby() for _ in range(3))) == [False] * 3

    async def test_one_that_was_away_from_the_start(self, pair: Pair, bench: Bench) -> None:
        pair.standby.kill()
        assert not await bench.is_on_standby()
        assert bench.replica.status.state == "down"

    async def test_it_is_left_alone_for_a_while(self, pair: Pair, bench: Bench) -> None:
        pair.standby.kill()
        assert not await bench.is_on_standby()
        for _ in range(3):
            assert not await bench.is_on_standby()
        assert bench.replica.probes == 1

    async def test_a_shut_down_ends_the_transaction_under_way_and_no_other(
        self, pair: Pair, bench: Bench
    ) -> None:
        async with get_read_db_context(bench.database) as session:
            assert await session.scalar(IN_RECOVERY)
            pair.standby.stop()
            with pytest.raises(DatabaseUnavailable), translate_errors():
                await session.scalar(IN_RECOVERY)
            await session.rollback()
            assert not await session.scalar(IN_RECOVERY)

    async def test_one_that_says_nothing_keeps_nobody_waiting_for_long(self, pair: Pair, make: Make) -> None:
        bench = make(patience_s=0.2)
        await bench.becomes("close")
        bench.clock.advance(5)
        family = [pair.standby.pid, *_children(pair.standby.pid)]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        try:
            assert not await bench.is_on_standby()
        finally:
            for pid in family:
                os.kill(pid, signal.SIGCONT)
        assert (await bench.replica.check()).state in ("down", "close")

    async def test_a_read_that_replay_cancels_is_told_to_try_again(self, pair: Pair, bench: Bench) -> None:
        async def read() -> None:
            async with get_read_db_context(bench.database) as session:
                await session.execute(
                    text("SELECT pg_sleep(60) FROM (SELECT count(*) FROM notes) AS all_of_them")
                )

        task = asyncio.create_task(read())
        active = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')"
        async with asyncio.timeout(60):
            while not await pair.on_standby(active):
                pass
        await pair.commit("DROP TABLE notes")
        with pytest.raises(DatabaseUnavailable, match="cancelled on the replica") as caught:
            await task
        assert caught.value.sqlstate == "40001"
        assert bench.replica.status.state == "close"

    async def test_who_stops_waiting_for_an_answer_says_nothing_of_the_server(
        self, pair: Pair, bench: Bench
    ) -> None:
        async def read() -> None:
            async with get_read_db_context(bench.database) as session:
                await session.execute(text("SELECT pg_sleep(60)"))

        task = asyncio.create_task(read())
        active = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')"
        async with asyncio.timeout(60):
            while not await pair.on_standby(active):
                pass
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bench.replica.status.state == "close"
        assert await bench.is_on_standby()


class TestOptions:
    @each_case("wrong", [{"max_lag_s": -1.0}, {"patience_s": 0.0}])
    def test_numbers_out_of_range_are_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match="max_lag_s >= 0"):
            Replica("postgresql://localhost/x", **wrong)

    def test_its_password_is_not_shown(self) -> None:
        assert "hunter2" not in repr(Replica("postgresql://user:hunter2@localhost/x"))

    def test_it_belongs_to_one_database(self) -> None:
        replica = Replica("postgresql://localhost/x")
        Database("postgresql://localhost/y", replica=replica)
        with pytest.raises(ConfigurationError, match="one database"):
            Database("postgresql://localhost/z", replica=replica)

    def test_the_primary_is_asked_as_it_is_used(self) -> None:
        database = Database("postgresql://u:p@localhost/y?pgbouncer=true&connect_timeout=3&search_path=z")
        lone = database.lone("another", 1.0)
        assert (lone.url, lone.through_pooler) == (database.url, True)

    async def test_a_plain_object_is_enough_for_a_session(self, bench: Bench) -> None:
        async with bench.database.read_session() as session:
            assert type(session) is ReadSession
            assert session.get_bind().engine.url.query == bench.database.engine.url.query


def _children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]
