from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text

from app.builtin.db_monitor.repository.statement_samples import TABLE
from app.builtin.db_monitor.schemas.slow_queries import SlowQueriesQuery
from app.builtin.db_monitor.service import SlowQueries, answer_of, answer_of_one
from app.core.db import Database, get_db_context, keep_partitions
from app.core.errors import NotFound
from app.core.monitor import MeasuredQuery, MonitorError, MonitorServer
from app.settings import Settings
from tests.sites import Site, whole_site

SHOWN = "SELECT records.name, records.id FROM records JOIN users ON users.id = records.owner_id WHERE records.name = ?"
SENT = SHOWN.replace("?", "'a secret'") + " /*policy='records_get',route='%2Frecords%2F%7Bid%7D'*/"
HOURLY = """
INSERT INTO monitor_statement_samples
SELECT 0, now() - ago * interval '1 hour', 0, true, true, now() - (ago + 1) * interval '1 hour', 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1
FROM generate_series(3, 27 * 24 + 2) ago
"""
# Intervals of five minutes, each call ten milliseconds; half of what ran in the last half hour is statement 8, before it a quarter 7.
TWO_HOURS = """
INSERT INTO monitor_statement_samples
SELECT q.queryid, now() - ago * interval '1 minute', 0, true, ago <> 100, now() - (ago + 5) * interval '1 minute',
    q.calls, q.calls * 10000, 0, 0, 0, q.calls, q.calls * 300, 0, 0, 0, 0, q.calls * 100.0, 10000
FROM generate_series(0, 115, 5) ago,
    LATERAL (VALUES (0, 400), (CASE WHEN ago < 30 THEN 8 ELSE 7 END, CASE WHEN ago < 30 THEN 200 ELSE 100 END)) q (queryid, calls)
"""
LAST_MONTH = datetime.now(UTC).date().replace(day=1) - timedelta(days=1)
PATH = "/db-monitor/slow-queries"


@pytest.fixture(scope="module")
async def site(make_settings: Callable[..., Settings], counted: Database) -> AsyncIterator[Site]:
    """The whole service on a database whose statements are counted, and the statement above run five times."""
    url = f"{counted.engine.url.render_as_string(hide_password=False)}"
    async with whole_site(make_settings(database_url=url), counted) as site:
        async with counted.engine.connect() as connection:
            for _ in range(5):
                await connection.exec_driver_sql(SENT)
        yield site


async def read(site: Site, query: str = "", path: str = PATH) -> Any:
    answer = await site.client.get(path + query, headers=site.bearer({"read:monitor"}))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_servers_counters_are_listed_with_origin_and_without_values(site: Site) -> None:
    found = await read(site, "?window=all&route=%2Frecords%2F%7Bid%7D")
    assert (found["source"], found["window"]) == ("server", "all")
    (statement,) = found["statements"]
    assert statement["statement"] == SHOWN
    assert statement["calls"] == 5
    assert statement["routes"] == ["/records/{id}"]
    assert statement["policies"] == ["records_get"]
    assert statement["mean_ms"] == pytest.approx(statement["total_ms"] / 5, rel=0.01, abs=0.001)
    assert 0 < statement["share_percent"] < 100
    assert found["counted"]["total"]["calls"] > 5
    assert found["counted"]["covered_percent"] == 100
    whole = await read(site, "?window=all&limit=100")
    texts = [each["statement"] for each in whole["statements"]]
    assert SHOWN in texts
    assert not any("a secret" in each or "BEGIN" in each or "pg_catalog" in each for each in texts)
    shares = [each["total_ms"] for each in whole["statements"]]
    assert shares == sorted(shares, reverse=True)


async def test_filters_sort_and_limit(site: Site) -> None:
    calls = [each["calls"] for each in (await read(site, "?window=all&sort=calls&min_calls=5"))["statements"]]
    assert calls == sorted(calls, reverse=True)
    assert min(calls) >= 5
    assert len((await read(site, "?window=all&limit=1"))["statements"]) == 1
    assert (await read(site, "?window=all&min_mean_ms=1000000"))["statements"] == []
    assert (await read(site, "?window=all&route=%2Fnowhere"))["statements"] == []


async def test_without_history_of_the_window_it_says_that_it_answers_from_the_counters(site: Site) -> None:
    found = await read(site, "?window=15m")
    assert found["window"] == "all"
    assert "There is no history of the last 15m yet" in found["notes"][0]


@pytest.mark.parametrize(
    "change",
    [
        "LOCK TABLE monitor_statements IN ACCESS EXCLUSIVE MODE",
        "ALTER TABLE monitor_statement_samples RENAME TO nowhere; COMMIT",
    ],
)
async def test_a_history_that_is_locked_or_gone_leaves_the_servers_counters(
    site: Site, watched: MonitorServer, counted: Database, change: str
) -> None:
    slow = SlowQueries(watched, counted)
    (listed,) = (await slow.report(SlowQueriesQuery(window="all", route="/records/{id}"))).statements
    async with counted.engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute(f"BEGIN; {change}")
        found = await slow.report(SlowQueriesQuery(window="15m", route="/records/{id}"))
        one = await slow.one(listed.queryid)
        with pytest.raises(MonitorError, match="cannot be read"):
            await slow.one(4711)
        await driver.execute("ROLLBACK; ALTER TABLE IF EXISTS nowhere RENAME TO monitor_statement_samples")
    for answer, statement in ((found, found.statements[0]), (one, one.statement)):
        assert statement.text == SHOWN
        assert "history of statements cannot be read" in answer.notes[0]


async def test_own_measurements_alone_if_that_is_asked_for(site: Site) -> None:
    found = await read(site, "?source=service")
    assert (found["source"], found["statements"], found["counted"]) == ("service", [], None)


async def test_one_statement_has_its_tables_and_an_unknown_one_is_404(site: Site) -> None:
    (listed,) = (await read(site, "?window=all&route=%2Frecords%2F%7Bid%7D"))["statements"]
    found = await read(site, path=f"{PATH}/{listed['queryid']}")
    assert found["statement"] == SHOWN
    assert found["tables"] == ["records", "users"]
    assert found["calls"] == 5
    assert found["series"]["points"] == []
    for unknown in ("1", "-1", f"-{2**63}", "9" * 19):
        answer = await site.client.get(f"{PATH}/{unknown}", headers=site.bearer({"read:monitor"}))
        assert answer.status_code == 404
        assert answer.json()["detail"] == "There is no such statement"
        page = await site.client.get(
            f"/ui/db-monitor/queries/{unknown}", headers=site.bearer({"read:monitor"})
        )
        assert page.status_code == 404


@dataclass(frozen=True)
class Query:
    """What a tracker has of one statement."""

    statement: str
    query_count: int = 4
    total_duration_ms: float = 40.0
    avg_duration_ms: float = 10.0
    max_duration_ms: float = 30.0
    p50_ms: float = 9.0
    p95_ms: float = 29.0
    p99_ms: float = 30.0
    routes: tuple[tuple[str, int], ...] = (("/measured", 3), ("/too", 1))


@dataclass(frozen=True)
class Tracker:
    queries: tuple[Query, ...]

    def get_heaviest_queries(self, limit: int = 5) -> Sequence[MeasuredQuery]:
        return self.queries[:limit]


async def test_own_measurements_stand_beside_and_give_their_routes(
    site: Site, watched: MonitorServer, counted: Database
) -> None:
    tracker = Tracker((Query(SHOWN), Query("SELECT ?", query_count=9, avg_duration_ms=1.0, routes=())))
    statements = SlowQueries(watched, counted, tracker)
    found = await statements.report(SlowQueriesQuery(window="all", route="/measured"))
    assert [each.text for each in found.statements] == [SHOWN]
    assert found.statements[0].routes == ("/measured", "/records/{id}", "/too")
    assert [each.statement for each in found.measured] == [SHOWN]
    answer = answer_of(await statements.report(SlowQueriesQuery(source="service", sort="calls")))
    assert [(each.statement, each.calls) for each in answer.measured] == [("SELECT ?", 9), (SHOWN, 4)]
    assert answer.measured[1].routes == {"/measured": 3, "/too": 1}
    slow = answer_of(await statements.report(SlowQueriesQuery(source="service", min_mean_ms=5, min_calls=4)))
    assert [each.statement for each in slow.measured] == [SHOWN]
    detail = answer_of_one(await statements.one(found.statements[0].queryid, "all"))
    assert detail.measured is not None
    assert detail.measured.p95_ms == 29.0
    assert detail.routes == ["/measured", "/records/{id}", "/too"]


async def test_without_the_extension_the_own_measurements_and_how_to_get_it(database: Database) -> None:
    server = MonitorServer(database)
    found = await SlowQueries(server, database, Tracker((Query(SHOWN),))).report(SlowQueriesQuery())
    await server.close()
    assert found.source == "service"
    assert [each.statement for each in found.measured] == [SHOWN]
    (finding,) = found.findings
    assert finding.check == "statements.extension"
    assert "available" in finding.evidence
    assert finding.ddl == ("CREATE EXTENSION IF NOT EXISTS pg_stat_statements;",)


@pytest.fixture
async def kept(site: Site, counted: Database) -> AsyncIterator[None]:
    """Two hours in which statement 7 ran, but for the last half hour, in which 8 did."""
    async with get_db_context(counted) as session:
        await keep_partitions(session, TABLE, ahead=1, today=LAST_MONTH)
        await session.execute(
            text("""
            INSERT INTO monitor_statements VALUES
            (7, 'SELECT a FROM records WHERE b = ?', '{/seven}', '{p}', now() - interval '2 hours', now() - interval '30 minutes'),
            (8, 'UPDATE users SET a = ?', '{}', '{}', now() - interval '30 minutes', now())
        """)
        )
        await session.execute(text(TWO_HOURS))
    yield
    async with get_db_context(counted) as session:
        await session.execute(text("DELETE FROM monitor_statement_samples"))
        await session.execute(text("DELETE FROM monitor_statements"))


async def test_windows_add_up_the_samples_that_lie_in_them(
    kept: None, watched: MonitorServer, counted: Database
) -> None:
    statements = SlowQueries(watched, counted)
    # The server's clock goes on after the samples were written, so that a window's first one lies just outside it.
    quarter = answer_of(await statements.report(SlowQueriesQuery(window="15m")))
    assert quarter.window == "15m"
    assert quarter.counted is not None
    assert quarter.counted.covered_percent == 100
    assert quarter.counted.total.calls == 1200
    (eight,) = quarter.statements
    assert (eight.queryid, eight.calls, eight.share_percent, eight.mean_ms) == ("8", 600, 50, 10)
    assert (eight.blocks_per_row, eight.marks) == (300, ["heavy", "reads_much"])
    assert [each.check for each in quarter.findings] == ["statements.reads_much", "statements.heavy"]
    hour = await statements.report(SlowQueriesQuery(window="1h"))
    assert {each.queryid: each.use.calls for each in hour.statements} == {8: 1200, 7: 600}
    assert [each.queryid for each in hour.statements] == [8, 7]
    assert hour.notes == ()
    day = answer_of(await statements.report(SlowQueriesQuery(window="24h", route="/seven")))
    assert [(each.queryid, each.calls) for each in day.statements] == [("7", 1800)]
    assert day.notes[0] == "Only 8 % of the window was sampled"
    assert "incomplete" in day.notes[1]


async def test_a_series_has_each_step_and_its_share(
    kept: None, watched: MonitorServer, counted: Database
) -> None:
    statements = SlowQueries(watched, counted)
    detail = answer_of_one(await statements.one(7, "1h"))
    assert (detail.calls, detail.routes, detail.tables) == (600, ["/seven"], ["records"])
    assert detail.first_seen is not None
    assert detail.series.step_s == 300
    assert [point.calls for point in detail.series.points] == [100] * 6 + [0] * 6
    assert {point.share_percent for point in detail.series.points} == {0, 25}
    assert detail.series.points[0].mean_ms == 10
    whole = answer_of_one(await statements.one(7, "all"))
    assert whole.window == "all"
    assert sum(point.calls for point in whole.series.points) == 1800
    with pytest.raises(NotFound):
        await statements.one(9, "1h")


async def test_a_long_series_has_at_most_300_points(
    kept: None, watched: MonitorServer, counted: Database
) -> None:
    async with get_db_context(counted) as session:
        await session.execute(text(HOURLY))
    found = await SlowQueries(watched, counted).one(7, "all")
    assert found.series.step == timedelta(hours=3)
    assert 200 < len(found.series.points) <= 300
    assert sum(total.calls for _, _, total in found.series.points) == 24 * 400 + 27 * 24
    steps = [at for at, _, _ in found.series.points]
    assert {later - earlier for earlier, later in pairwise(steps)} == {timedelta(hours=3)}
