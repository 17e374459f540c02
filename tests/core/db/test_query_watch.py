import asyncio
import os
import weakref
from collections import Counter
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import ForeignKey, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncAttrs, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

from app.core.db import (
    Database,
    NPlusOneDetected,
    QueryAnalyzer,
    QueryWatch,
    forbid_n_plus_one,
    watch_queries,
)
from app.core.errors import ConfigurationError
from tests.garbage import own_garbage
from tests.nursery import run

Logged = list[MutableMapping[str, Any]]
HERE = "tests/core/db/test_query_watch.py"


class Own(AsyncAttrs, DeclarativeBase):
    """Tables of these tests, on a metadata of their own; ``leaves`` is lazy on purpose."""


class Branch(Own):
    __tablename__ = "watched_branches"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    leaves: Mapped[list["Leaf"]] = relationship()


class Leaf(Own):
    __tablename__ = "watched_leaves"
    id: Mapped[int] = mapped_column(primary_key=True)
    branch_id: Mapped[int] = mapped_column(ForeignKey("watched_branches.id"))


@pytest.fixture
async def tree(db_session: AsyncSession) -> AsyncSession:
    """A session that sees three branches with two leaves each; nothing of it is kept."""
    await (await db_session.connection()).run_sync(Own.metadata.create_all)
    await db_session.execute(
        insert(Branch), [{"id": i, "name": f"a secret of branch {i}"} for i in range(1, 4)]
    )
    await db_session.execute(insert(Leaf), [{"branch_id": 1 + i % 3} for i in range(6)])
    return db_session


async def load_one(session: AsyncSession, branch: int) -> Branch:
    return (await session.scalars(select(Branch).where(Branch.id == branch))).one()


REPEATING = """
import os
from sqlalchemy import text
from app.core.db import Database
from tests.conftest import no_n_plus_one

async def ask(*versions):
    database = Database(os.environ["PROBED_DATABASE"])
    async with database.session() as session:
        for version in versions:
            await session.execute(text("SELECT id FROM records WHERE version = :v"), {"v": version})
    await database.close()

async def test_once(no_n_plus_one):
    await ask(1)

async def test_twice(no_n_plus_one):
    await ask(1, 2)
"""


class TestWatching:
    async def test_a_loop_that_loads_is_found_with_its_lines(self, tree: AsyncSession) -> None:
        with watch_queries() as queries:
            for branch in (1, 2, 3):
                await load_one(tree, branch)
        (found,) = queries.repeated()
        assert (found.times, found.distinct, queries.statements) == (3, 3, 3)
        assert found.shape.endswith("WHERE watched_branches.id = ?")
        assert found.total_ms > 0
        assert found.lines[0].startswith(f"{HERE}:")
        assert found.lines[0].endswith(" in load_one")
        assert found.lines[1].endswith(" in test_a_loop_that_loads_is_found_with_its_lines")

    async def test_one_shape_from_two_places_is_no_repetition(self, tree: AsyncSession) -> None:
        with watch_queries() as queries:
            await load_one(tree, 1)
            await load_one(tree, 2)
        assert queries.statements == 2
        assert queries.repeated() == ()

    async def test_the_same_parameters_again_are_told_apart(self, tree: AsyncSession) -> None:
        with watch_queries() as queries:
            for _ in range(4):
                await load_one(tree, 1)
        assert [(found.times, found.distinct) for found in queries.repeated()] == [(4, 1)]

    async def test_below_the_threshold_nothing_is_found(self, tree: AsyncSession) -> None:
        with watch_queries() as queries:
            for branch in (1, 2, 3):
                await load_one(tree, branch)
        assert queries.repeated(4) == ()
        assert len(queries.repeated(3)) == 1

    async def test_tasks_of_the_block_are_watched_and_others_are_not(self, database: Database) -> None:
        async def ask() -> None:
            async with database.session() as session:
                await session.scalar(text("SELECT count(*) FROM records WHERE version = :v"), {"v": 1})

        with watch_queries() as queries:
            await asyncio.gather(*(ask() for _ in range(3)))
        await ask()
        assert queries.statements == 3
        assert [found.times for found in queries.repeated()] == [3]

    async def test_blocks_nest(self, tree: AsyncSession) -> None:
        with watch_queries() as outer:
            await load_one(tree, 1)
            with watch_queries() as inner:
                await load_one(tree, 2)
        assert (outer.statements, inner.statements) == (2, 1)

    async def test_what_is_cleared_is_forgotten(self, tree: AsyncSession) -> None:
        with watch_queries() as queries:
            for branch in (1, 2):
                await load_one(tree, branch)
            queries.clear()
        assert (queries.statements, queries.repeated()) == (0, ())

    async def test_shapes_are_bounded_and_what_is_missed_is_counted(self, tree: AsyncSession) -> None:
        with watch_queries() as queries:
            for number in range(1005):
                queries.note(f"SELECT a{number}x FROM t", (), lambda: ("here",))
        assert queries.missed == 5

    async def test_no_value_is_kept(self, tree: AsyncSession) -> None:
        with watch_queries() as queries:
            for number in range(2):
                await tree.execute(text(f"SELECT id FROM watched_branches WHERE name = 'hunter{number}'"))
                await tree.execute(select(Branch.id).where(Branch.name == "hunter2"))
        assert len(queries.repeated()) == 2
        assert "hunter" not in str(queries.repeated())

    @pytest.mark.parametrize("threshold", [1, 0, -1])
    def test_a_threshold_that_everything_passes_is_refused(self, threshold: int) -> None:
        with pytest.raises(ConfigurationError, match="2 or more"):
            QueryWatch().repeated(threshold)
        with pytest.raises(ConfigurationError, match="2 or more"), forbid_n_plus_one(threshold=threshold):
            pass


CALLS = st.tuples(st.sampled_from("abc"), st.sampled_from(["here", "there"]), st.integers(0, 3))


@given(st.lists(CALLS, max_size=40), st.integers(2, 5))
def test_what_is_found_is_what_ran_so_often_from_one_place(
    calls: list[tuple[str, str, int]], threshold: int
) -> None:
    watch = QueryWatch()
    for name, line, value in calls:
        watch.note(f"SELECT {name} FROM t WHERE id = $1", (value,), lambda line=line: (line,))  # type: ignore[misc]
    times = Counter((name, line) for name, line, _ in calls)
    values = {key: {value for name, line, value in calls if (name, line) == key} for key in times}
    assert watch.statements == len(calls)
    assert {
        (found.shape[7], found.lines[0]): (found.times, found.distinct) for found in watch.repeated(threshold)
    } == {key: (count, len(values[key])) for key, count in times.items() if count >= threshold}
    assert [found.times for found in watch.repeated(threshold)] == sorted(
        (count for count in times.values() if count >= threshold), reverse=True
    )


class TestForbidding:
    async def test_a_lazily_loaded_relationship_fails_and_the_line_is_named(self, tree: AsyncSession) -> None:
        """The relationship is mapped without ``lazy="raise"``: this is what then finds the forgotten load."""
        branches = (await tree.scalars(select(Branch))).all()

        async def count_leaves() -> list[int]:
            with forbid_n_plus_one():
                return [len(await branch.awaitable_attrs.leaves) for branch in branches]

        with pytest.raises(NPlusOneDetected) as caught:
            await count_leaves()
        assert "3 times, 3 different parameters" in str(caught.value)
        assert "FROM watched_leaves WHERE ? = watched_leaves.branch_id" in str(caught.value)
        assert f"{HERE}:" in str(caught.value)
        assert "in test_a_lazily_loaded_relationship_fails_and_the_line_is_named" in str(caught.value)

    async def test_the_same_loaded_eagerly_passes(self, tree: AsyncSession) -> None:
        with forbid_n_plus_one() as queries:
            branches = (await tree.scalars(select(Branch).options(selectinload(Branch.leaves)))).all()
            assert [len(branch.leaves) for branch in branches] == [2, 2, 2]
        assert queries.statements == 2

    async def test_an_error_of_the_block_is_not_covered_up(self, tree: AsyncSession) -> None:
        async def fail() -> None:
            with forbid_n_plus_one():
                for branch in (1, 2):
                    await load_one(tree, branch)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()

    async def test_a_statement_may_say_that_it_repeats(self, tree: AsyncSession) -> None:
        statement = select(Branch.id).execution_options(may_repeat=True)
        with forbid_n_plus_one() as queries:
            for _ in range(3):
                await tree.execute(statement)
        assert queries.statements == 3

    async def test_batches_of_fifty_values_are_no_n_plus_one(self, tree: AsyncSession) -> None:
        async def read(size: int) -> None:
            for start in (0, size):
                await tree.execute(select(Branch.id).where(Branch.id.in_(range(start, start + size))))

        with forbid_n_plus_one() as queries:
            await read(50)
        assert queries.statements == 2
        with pytest.raises(NPlusOneDetected), forbid_n_plus_one():
            await read(2)

    async def test_writes_count_when_they_are_asked_for(self, tree: AsyncSession) -> None:
        async def rename() -> None:
            for branch in (1, 2):
                await tree.execute(update(Branch).where(Branch.id == branch).values(name="new"))

        with forbid_n_plus_one():
            await rename()
        with (
            pytest.raises(NPlusOneDetected, match="UPDATE watched_branches"),
            forbid_n_plus_one(reads_only=False),
        ):
            await rename()

    async def test_one_statement_for_many_rows_is_no_repetition(self, tree: AsyncSession) -> None:
        with forbid_n_plus_one(reads_only=False) as queries:
            await tree.execute(insert(Branch), [{"id": 100 + i, "name": "n"} for i in range(5)])
        assert queries.statements == 1
        assert len((await tree.scalars(select(Branch.id).where(Branch.id >= 100))).all()) == 5

    async def test_pings_and_the_catalog_never_count(self, database: Database) -> None:
        with forbid_n_plus_one() as queries:
            for _ in range(3):
                await database.ping()
                async with database.connect() as connection:
                    await connection.execute(text("SELECT relname FROM pg_catalog.pg_class LIMIT 1"))
        assert queries.statements == 6


class TestLogging:
    async def test_a_session_tells_its_repeated_statements(
        self, tree: AsyncSession, database: Database
    ) -> None:
        with QueryAnalyzer.enable_query_logging(database.engine, verbose=True):
            async with database.session() as session:
                for version in (1, 2, 3):
                    await session.execute(
                        text("SELECT id FROM records WHERE version = :version"), {"version": version}
                    )
                issues = QueryAnalyzer.detect_n_plus_one(session)
            async with database.session() as other:
                assert QueryAnalyzer.detect_n_plus_one(other) == []
        assert [(issue.times, issue.distinct, issue.shape) for issue in issues] == [
            (3, 3, "SELECT id FROM records WHERE version = ?")
        ]
        assert "in test_a_session_tells_its_repeated_statements" in issues[0].lines[0]

    async def test_a_session_remembers_over_its_commits_and_two_do_not_mix(self, database: Database) -> None:
        statement = text("SELECT id FROM records WHERE version = :version")
        with QueryAnalyzer.enable_query_logging(database.engine):
            async with database.session() as one, database.session() as other:
                for version in (1, 2):
                    await one.execute(statement, {"version": version})
                    await one.commit()
                    await other.execute(select(1))
                assert [issue.times for issue in QueryAnalyzer.detect_n_plus_one(one)] == [2]
                assert QueryAnalyzer.detect_n_plus_one(other) == []

    async def test_without_the_log_it_says_what_to_do(self, database: Database) -> None:
        async with database.session() as session:
            with pytest.raises(ConfigurationError, match="enable_query_logging"):
                QueryAnalyzer.detect_n_plus_one(session)

    async def test_verbose_logs_each_statement_without_its_values(
        self, database: Database, logged: Logged
    ) -> None:
        with QueryAnalyzer.enable_query_logging(database.engine, verbose=True):
            async with database.session() as session:
                await session.execute(
                    text("SELECT id FROM records WHERE name = :n AND payload = '{}'"), {"n": "x9"}
                )
        (line,) = [line for line in logged if line["event"] == "query.executed"]
        assert line["statement"] == "SELECT id FROM records WHERE name = ? AND payload = ?"
        assert "in test_verbose_logs_each_statement" in str(line["lines"])
        assert "x9" not in str(logged)

    @pytest.mark.parametrize(("slow_ms", "events"), [(0, ["query.slow"]), (60_000, [])])
    async def test_otherwise_only_slow_statements_are_logged(
        self, database: Database, logged: Logged, slow_ms: float, events: list[str]
    ) -> None:
        with QueryAnalyzer.enable_query_logging(database.engine, slow_ms=slow_ms):
            await database.ping()
        assert [line["event"] for line in logged] == events
        assert [line["log_level"] for line in logged] == ["warning"] * len(events)

    async def test_a_second_log_replaces_the_first_and_a_stopped_one_is_silent(
        self, database: Database, logged: Logged
    ) -> None:
        first = QueryAnalyzer.enable_query_logging(database.engine, verbose=True)
        second = QueryAnalyzer.enable_query_logging(database.engine, verbose=True)
        first.disable()
        await database.ping()
        second.disable()
        await database.ping()
        assert [line["event"] for line in logged] == ["query.executed"]

    async def test_a_log_that_nobody_stopped_goes_with_its_engine(self, postgres_url: str) -> None:
        with own_garbage() as collect:
            database = Database(postgres_url)
            QueryAnalyzer.enable_query_logging(database.engine)
            await database.ping()
            engine = weakref.ref(database.engine.sync_engine)
            await database.close()
            collect()
        assert engine() is None

    @pytest.mark.parametrize("engine", ["an engine", None])
    def test_what_is_no_engine_is_refused(self, engine: object) -> None:
        with pytest.raises(ConfigurationError, match="takes an engine"):
            QueryAnalyzer.enable_query_logging(engine)  # type: ignore[arg-type]

    def test_a_negative_time_is_refused(self, database: Database) -> None:
        with pytest.raises(ConfigurationError, match="slow_ms"):
            QueryAnalyzer.enable_query_logging(database.engine, slow_ms=-1)


class TestFixture:
    async def test_it_watches_the_test_and_forgets_when_it_is_told(
        self, tree: AsyncSession, no_n_plus_one: QueryWatch
    ) -> None:
        for branch in (1, 2):
            await load_one(tree, branch)
        assert [found.times for found in no_n_plus_one.repeated()] == [2]
        no_n_plus_one.clear()
        await load_one(tree, 3)

    def test_a_test_that_repeats_a_statement_is_red(self, tmp_path: Path, postgres_url: str) -> None:
        (tmp_path / "test_repeating.py").write_text(REPEATING)
        done = run(
            "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:warnings", "-c", os.devnull, "-o", "asyncio_mode=auto",
            "--rootdir", str(tmp_path), str(tmp_path), environment={"PROBED_DATABASE": postgres_url},
        )  # fmt: skip
        assert done.code == 1, done.output
        assert "2 passed, 1 error" in done.output
        assert "Repeated statements:" in done.output
        assert "2 times, 2 different parameters: SELECT id FROM records WHERE version = ?" in done.output
        assert "test_repeating.py:11 in ask" in done.output
