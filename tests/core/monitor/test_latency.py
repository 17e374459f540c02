from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from app.core.context import RequestContext, reset_context, set_context
from app.core.db import Database
from app.core.errors import ConfigurationError
from app.core.monitor import QueryLatencyTracker
from app.core.observability import DatabaseEvent, EventHub
from app.core.resilience import ManualClock

ONE = "SELECT name FROM records WHERE id = "


class TestTracker:
    def test_statements_of_one_shape_are_counted_together_and_show_no_value(self) -> None:
        tracker = QueryLatencyTracker(slow_query_threshold_ms=100)
        for number in range(10):
            tracker.record_query(f"{ONE}{number} /* secret */", duration_ms=50.0 + 10 * number)
        tracker.record_query("ALTER ROLE bob PASSWORD 'secret'", duration_ms=1)
        metrics = tracker.get_metrics()
        assert (metrics.query_count, metrics.slow_query_count, metrics.statement_count) == (11, 5, 2)
        assert metrics.avg_duration_ms == pytest.approx(951 / 11, abs=0.001)
        (slow,) = tracker.get_slow_queries(limit=5)
        assert (slow.statement, slow.query_count, slow.slow_query_count) == (f"{ONE}?", 10, 5)
        assert (slow.avg_duration_ms, slow.max_duration_ms, slow.total_duration_ms) == (95, 140, 950)
        assert slow.p50_ms == pytest.approx(90, rel=0.05)
        assert "secret" not in repr(tracker.get_heaviest_queries(limit=9))

    def test_the_slowest_come_first_and_the_heaviest_are_others(self) -> None:
        tracker = QueryLatencyTracker()
        for name, times, each in (("a", 1, 500), ("b", 100, 150), ("c", 1000, 99)):
            for _ in range(times):
                tracker.record_query(f"SELECT * FROM {name}", duration_ms=each)
        assert [found.statement[-1] for found in tracker.get_slow_queries()] == ["a", "b"]
        assert [found.statement[-1] for found in tracker.get_slow_queries(limit=1)] == ["a"]
        assert [found.statement[-1] for found in tracker.get_heaviest_queries()] == ["c", "b", "a"]

    def test_the_last_minutes_are_told_beside_the_time_since_the_start(self) -> None:
        clock = ManualClock()
        tracker = QueryLatencyTracker(window_s=300, clock=clock)
        tracker.record_query("SELECT 1", duration_ms=900)
        clock.advance(301)
        tracker.record_query("SELECT 1", duration_ms=1)
        metrics = tracker.get_metrics()
        assert (metrics.query_count, metrics.recent.query_count, metrics.recent.max_duration_ms) == (2, 1, 1)
        assert tracker.get_slow_queries()[0].recent.query_count == 1
        tracker.clear()
        assert tracker.get_metrics().query_count == 0

    @settings(max_examples=10)
    @given(st.integers(min_value=0, max_value=59))
    def test_a_heavy_statement_stays_however_many_others_there_are(self, start: int) -> None:
        tracker = QueryLatencyTracker(max_statements=50)
        for number in range(600):
            tracker.record_query(f"SELECT * FROM t{number}", duration_ms=1)
            if number % 60 == start:
                tracker.record_query("SELECT * FROM heavy", duration_ms=20)
        metrics = tracker.get_metrics()
        assert metrics.statement_count <= 50
        assert metrics.forgotten_count >= 550
        assert metrics.query_count == 610
        assert tracker.get_heaviest_queries(limit=1)[0].query_count == 10

    def test_a_statement_knows_its_routes_but_not_endless_ones(self) -> None:
        tracker = QueryLatencyTracker()
        for number in [0, *range(30)]:
            token = set_context(RequestContext(route=f"/r{number:02}"))
            tracker.record_query("SELECT 1", duration_ms=1)
            reset_context(token)
        (found,) = tracker.get_heaviest_queries()
        assert found.routes[:2] == (("(other)", 10), ("/r00", 2))
        assert len(found.routes) == 21

    def test_threads_lose_nothing(self) -> None:
        tracker = QueryLatencyTracker()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: tracker.record_query("SELECT 1", 1.0), range(2000)))
        assert tracker.get_metrics().query_count == 2000

    def test_a_long_text_is_cut(self) -> None:
        tracker = QueryLatencyTracker()
        tracker.record_query("SELECT a" + ", a" * 100_000, duration_ms=1)
        assert len(tracker.get_heaviest_queries()[0].statement) <= 4000

    @pytest.mark.parametrize("duration", [-1.0, float("nan"), float("inf")])
    def test_no_duration_is_refused(self, duration: float) -> None:
        with pytest.raises(ValueError, match="duration_ms"):
            QueryLatencyTracker().record_query("SELECT 1", duration_ms=duration)

    @pytest.mark.parametrize(
        "options", [{"slow_query_threshold_ms": -1}, {"window_s": 0}, {"max_statements": 0}]
    )
    def test_options_out_of_range_are_refused(self, options: dict[str, int]) -> None:
        with pytest.raises(ConfigurationError, match="max_statements"):
            QueryLatencyTracker(**options)  # type: ignore[arg-type]


class TestAttached:
    async def test_a_hub_tells_of_sqlalchemys_statements_and_of_those_past_it(
        self, postgres_url: str
    ) -> None:
        hub, tracker = EventHub(), QueryLatencyTracker()
        tracker.subscribe(hub)
        database = Database(postgres_url, hub=hub, query_tags=["request_id"])
        token = set_context(RequestContext(request_id="one", route="/here"))
        async with database.session() as session:
            await session.execute(text("SELECT 'secret' FROM records WHERE version = :v"), {"v": 1})
        await database.fetch("SELECT count(*) FROM records WHERE version = $1", 1)
        reset_context(token)
        await database.close()
        found = {each.statement: each.routes for each in tracker.get_heaviest_queries()}
        assert found == {
            "SELECT ? FROM records WHERE version = ?": (("/here", 1),),
            "SELECT count(*) FROM records WHERE version = ?": (("/here", 1),),
        }

    def test_any_engine_can_be_watched_and_left_alone_again(self) -> None:
        engine, tracker = create_engine("sqlite://"), QueryLatencyTracker()
        tracker.attach(engine)
        tracker.attach(engine)
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            with pytest.raises(Exception, match="no such table"):
                connection.execute(text("SELECT * FROM nowhere"))
            tracker.detach(engine)
            connection.execute(text("SELECT 1"))
        metrics = tracker.get_metrics()
        assert (metrics.query_count, metrics.error_count) == (2, 1)
        tracker.detach(engine)
        engine.dispose()

    def test_what_is_no_engine_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="an engine is needed"):
            QueryLatencyTracker().attach("postgresql://")  # type: ignore[arg-type]


def test_an_event_shows_neither_its_statement_nor_its_parameters() -> None:
    event = DatabaseEvent("select", 0.1, None, "SELECT 'secret'", ("secret",))
    assert repr(event) == f"{event!s}" == "DatabaseEvent('select', 0.1, None)"
