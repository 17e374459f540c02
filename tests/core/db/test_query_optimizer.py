"""Optimised queries: what comes back, how long it is kept, and what happens when the database fails."""

import asyncio
import types
from collections.abc import AsyncIterator, Iterator
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import event, inspect, text
from sqlalchemy.exc import SQLAlchemyError
from structlog.testing import capture_logs

from app.core.db import (
    AnyOf,
    AsyncSession,
    Database,
    DatabaseTimeout,
    DatabaseUnavailable,
    InvalidFieldValue,
    InvalidLimit,
    OptimizedQuerySetMixin,
    PoolCircuitOpen,
    QueryOptimizer,
    ReadOptions,
    Replica,
    Search,
    SerializationFailure,
    UnknownField,
    UnknownOperator,
    Where,
    configure,
    get_db_context,
    watch_queries,
)
from app.core.db._optimized_read import _How, _tables
from app.core.errors import ConfigurationError
from app.core.observability import CacheEvent, EventHub
from app.core.resilience import Retrier, RetryRules
from app.core.security import Sealer, configure_encryption
from app.core.valkey import Cache, ValkeyClient, configure_cache
from tests.core.db.patients import Patient, admit, wards
from tests.lock_waits import until_a_session_waits
from tests.staff import Assignment, Badge, Certification, Person, Staff, Template
from tests.test_docs import table

DIES = "the connection itself"
AT_ONCE = RetryRules(attempts=3, base=0, exceptions=(Exception,))
ask, ask_one = QueryOptimizer.optimized_query, QueryOptimizer.optimize_single_object_query


@pytest.fixture
async def told(store: ValkeyClient, clean_store: None) -> AsyncIterator[list[str]]:
    """The process's cache, and what came of each call."""
    events: list[str] = []
    hub = EventHub()
    hub.subscribe(CacheEvent, lambda event: events.append(str(event[0])))
    cache = Cache(store, hub=hub, seal=Sealer(["a key of the tests, thirty-two bytes or more"]))
    configure_cache(cache)
    _tables.cache_clear()
    yield events
    configure_cache(None)
    await cache.close()


@pytest.fixture
async def people(staff: None, database: Database) -> AsyncIterator[Database]:
    """Ann with two assignments and a certificate, Bob with nothing; everything goes after the test."""
    async with get_db_context(database) as db:
        db.add_all([Person(id="ann", name="Ann", pay="1.50"), Person(id="bob", name="Bob", role="FACULTY")])
        db.add_all([Template(id=1, title="day"), Template(id=2, title="night")])
        await db.flush()
        db.add_all([Assignment(id=n, person_id="ann", template_id=n) for n in (1, 2)])
        db.add(Certification(person_id="ann", number=1))
    yield database
    async with get_db_context(database) as db:
        await db.execute(text("TRUNCATE staff.persons, staff.templates CASCADE"))


@pytest.fixture
def default(people: Database) -> Iterator[Database]:
    """The process's database, as a door configures it."""
    configure(people)
    yield people
    people.breaker.close()
    configure(None)


class Failures:
    """Statements of ``database`` that read persons fail so often, with this SQLSTATE, as the server would say it."""

    def __init__(self, database: Database, code: str, times: int) -> None:
        self._engine = database.engine.sync_engine
        self._code, self.left, self.asked = code, times, 0

    def __enter__(self) -> "Failures":
        event.listen(self._engine, "before_cursor_execute", self._fail, retval=True)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._fail)

    def _fail(self, _c: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        if "FROM staff.persons" not in sql:
            return sql, parameters
        self.asked += 1
        if not self.left:
            return sql, parameters
        self.left -= 1
        if self._code == DIES:
            return "SELECT pg_terminate_backend(pg_backend_pid())", ()
        return f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{self._code}'; END $$", ()


def quick() -> Retrier:
    return Retrier(AT_ONCE)


class TestAnswers:
    async def test_many_are_a_list_and_one_is_an_object_or_none(self, people: Database) -> None:
        async with people.session() as db:
            everybody = await ask(Person, {}, db, order_by="-name")
            ann = await ask_one(Person, {"id": "ann"}, db)
            nobody = await ask_one(Person, {"id": "eve"}, db)
            none = await ask(Person, {"id": "eve"}, db)
            first = await ask_one(Person, None, db, order_by="-name")
        assert isinstance(everybody, list)
        assert [person.name for person in everybody] == ["Bob", "Ann"]
        assert isinstance(ann, Person)
        assert (nobody, none) == (None, [])
        assert first is not None
        assert first.id == "bob"

    @pytest.mark.parametrize(
        ("params", "found"),
        [
            ({"name__contains": "n"}, ["ann"]),
            ({"role": "FACULTY", "is_active": True}, ["bob"]),
            ({"id": ["ann", "bob"]}, ["ann", "bob"]),
            (Where("name", "B", "gte"), ["bob"]),
            ([AnyOf((Search("bo", ("name",)), Where("id", "ann")))], ["ann", "bob"]),
            (iter([Where("id", "ann")]), ["ann"]),
        ],
        ids=["text", "two", "list", "value", "any", "iterator"],
    )
    async def test_params_are_the_filters_of_repositories(
        self, people: Database, told: list[str], params: Any, found: list[str]
    ) -> None:
        async with people.session() as db:
            assert [person.id for person in await ask(Person, params, db)] == found

    @pytest.mark.parametrize(
        ("params", "options", "refusal"),
        [
            ({"salary": 1}, {}, UnknownField),
            ({"name__sounds_like": "ann"}, {}, UnknownOperator),
            ({"age": "old"}, {}, InvalidFieldValue),
            ({}, {"load": ["friends"]}, UnknownField),
            ({}, {"order_by": "salary"}, UnknownField),
            ({}, {"limit": 0}, InvalidLimit),
            ({}, {"limit": 1001}, InvalidLimit),
            ({}, {"ttl": 0}, ConfigurationError),
            ({}, {"scope": "planet"}, ConfigurationError),
        ],
    )
    async def test_what_makes_no_sense_is_refused_before_anything_is_asked(
        self, people: Database, told: list[str], params: Any, options: Any, refusal: type[Exception]
    ) -> None:
        async with people.session() as db:
            with pytest.raises(refusal):
                await ask(Person, params, db, **options)
            assert not db.in_transaction()
        assert told == []

    async def test_an_option_that_does_not_exist_is_an_error_of_the_program(self, people: Database) -> None:
        wrong: Any = {"prefetch": ["assignments"]}
        async with people.session() as db:
            with pytest.raises(TypeError, match="prefetch"):
                await ask(Person, {}, db, **wrong)

    async def test_a_list_is_bounded(self, people: Database) -> None:
        async with get_db_context(people) as db:
            rows = [{"i": n} for n in range(1001)]
            await db.execute(text("INSERT INTO staff.badges (id, rank) VALUES (gen_random_uuid(), :i)"), rows)
        async with get_db_context(people) as db:
            assert len(await ask(Badge, None, db)) == 1000
            assert len(await ask(Badge, None, db, limit=3)) == 3
            await db.execute(text("TRUNCATE staff.badges"))

    def test_the_page_has_every_option_with_its_default(self) -> None:
        said = table(Path(__file__).parents[3] / "docs/query-tools.md", "option")
        assert said.keys() == {*ReadOptions.__annotations__, "limit"}
        assert (said["ttl"][0], said["scope"][0]) == (str(int(_How().ttl or 0)), f'`"{_How().scope}"`')
        assert said["limit"][0] == str(signature(ask).parameters["limit"].default)


class TestPrefetching:
    @pytest.mark.parametrize("ttl", [60.0, None])
    async def test_a_path_is_loaded_in_one_statement_for_all_rows(
        self, people: Database, told: list[str], ttl: float | None
    ) -> None:
        load = ["assignments.template", "certifications", "assignments"]
        for statements in (4, 0 if ttl else 4):
            async with people.session() as db:
                with watch_queries() as watch:
                    ann, bob = await ask(Person, {}, db, load=load, ttl=ttl)
                assert watch.statements == statements
                assert [one.template.title for one in ann.assignments] == ["day", "night"]
                assert [one.number for one in ann.certifications] == [1]
                assert (bob.assignments, bob.certifications) == ([], [])

    async def test_what_was_not_asked_for_raises_kept_or_not(self, people: Database, told: list[str]) -> None:
        for _ in range(2):
            async with people.session() as db:
                (ann,) = await ask(Person, {"id": "ann"}, db, load=["assignments"])
            with pytest.raises(SQLAlchemyError):
                _ = ann.certifications
            with pytest.raises(SQLAlchemyError):
                _ = ann.assignments[0].template
        assert [kind for kind in told if kind != "stored"] == ["miss", "hit"]

    async def test_one_that_is_missing_stays_missing(self, people: Database, told: list[str]) -> None:
        for _ in range(2):
            async with people.session() as db:
                (found,) = await ask(Assignment, {"id": 1}, db, load=["person"])
            assert found.person.name == "Ann"

    async def test_a_write_to_a_prefetched_table_ends_the_result(
        self, people: Database, told: list[str]
    ) -> None:
        for title in ("day", "evening"):
            async with get_db_context(people) as db:
                await db.execute(text("UPDATE staff.templates SET title = :t WHERE id = 1"), {"t": title})
            for _ in range(2):
                async with people.session() as db:
                    ann = await ask_one(Person, {"id": "ann"}, db, load=["assignments.template"])
                assert ann is not None
                assert ann.assignments[0].template.title == title


class TestKeeping:
    async def test_a_result_is_kept_from_the_first_run_on_until_a_commit_writes_its_table(
        self, people: Database, told: list[str]
    ) -> None:
        async def names() -> list[str]:
            async with people.session() as db:
                return [person.name for person in await ask(Person, {}, db)]

        assert [await names(), await names()] == [["Ann", "Bob"]] * 2
        async with get_db_context(people) as db:
            await db.execute(text("UPDATE staff.templates SET title = 'noon'"))
        assert await names() == ["Ann", "Bob"]
        async with get_db_context(people) as db:
            (await db.get_one(Person, "ann")).name = "Anne"
        assert await names() == ["Anne", "Bob"]
        assert [kind for kind in told if kind != "stored"] == ["miss", "hit", "hit", "miss"]

    async def test_nothing_found_is_kept_too_and_ends_with_the_first_row(
        self, people: Database, told: list[str]
    ) -> None:
        for _ in range(2):
            async with people.session() as db:
                assert await ask_one(Person, {"id": "eve"}, db) is None
        assert [kind for kind in told if kind != "stored"] == ["miss", "hit"]
        async with get_db_context(people) as db:
            db.add(Person(id="eve", name="Eve"))
        async with people.session() as db:
            assert (await ask_one(Person, {"id": "eve"}, db)) is not None

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (({"id": "ann"}, {}), ({"id": "bob"}, {})),
            (({"id": "ann"}, {}), ({"id__ne": "ann"}, {})),
            (({}, {"limit": 1}), ({}, {"limit": 2})),
            (({}, {"order_by": "name", "limit": 1}), ({}, {"order_by": "-name", "limit": 1})),
            (({}, {}), ({}, {"load": ["assignments"]})),
            (({}, {"load": ["assignments"]}), ({}, {"load": ["assignments.person"]})),
            ((Where("id", "ann"), {}), (Where("name", "ann"), {})),
        ],
        ids=str,
    )
    async def test_two_questions_are_never_taken_for_one(
        self, people: Database, told: list[str], one: Any, other: Any
    ) -> None:
        async with people.session() as db:
            for params, options in (one, other):
                await ask(Person, params, db, **options)
        assert [kind for kind in told if kind != "stored"] == ["miss", "miss"]

    async def test_rows_are_copies_unless_they_are_not_to_be_kept(
        self, people: Database, told: list[str]
    ) -> None:
        for _ in range(2):
            async with get_db_context(people) as db:
                copy = await ask_one(Person, {"id": "ann"}, db)
                assert copy is not None
                assert copy not in db
                copy.name = "Nobody"
        async with get_db_context(people) as db:
            own = await ask_one(Person, {"id": "ann"}, db, ttl=None)
            assert own is not None
            assert own.name == "Ann"
            assert own in db
            own.name = "Anne"
        async with people.session() as db:
            found = await ask_one(Person, {"id": "ann"}, db)
        assert found is not None
        assert found.name == "Anne"

    async def test_a_transaction_sees_its_own_writes_and_nobody_else_does(
        self, people: Database, told: list[str]
    ) -> None:
        async with people.session() as db:
            await ask(Person, {}, db)
            db.add(Person(id="eve", name="Eve"))
            assert len(await ask(Person, {}, db)) == 3
            async with people.session() as other:
                assert len(await ask(Person, {}, other)) == 2
            await db.rollback()
            assert len(await ask(Person, {}, db)) == 2

    async def test_without_a_cache_the_rows_are_the_same_copies(self, people: Database) -> None:
        configure_cache(None)
        async with people.session() as db:
            ann = await ask_one(Person, {"id": "ann"}, db, load=["assignments"])
            assert ann is not None
            assert ann not in db
        assert len(ann.assignments) == 2

    async def test_a_filter_of_ones_own_is_asked_each_time(self, people: Database, told: list[str]) -> None:
        class Named:
            def criterion(self, model: Any) -> Any:
                return model.name == "Ann"

        for _ in range(2):
            async with people.session() as db:
                assert [person.id for person in await ask(Person, Named(), db)] == ["ann"]
        assert told == []

    async def test_one_name_in_two_schemas_is_two_tables(self, people: Database, told: list[str]) -> None:
        for schema in ("staff", "ward_b", "staff"):
            engine = people.engine.execution_options(schema_translate_map={"staff": schema})
            async with AsyncSession(engine) as db, people.engine.begin() as connection:
                if schema != "staff":
                    await connection.execute(text(f"CREATE SCHEMA {schema}"))
                    await connection.execute(text(f"CREATE TABLE {schema}.templates (id int, title text)"))
                    await connection.commit()
                titles = [template.title for template in await ask(Template, {}, db)]
            assert titles == ([] if schema == "ward_b" else ["day", "night"])
        async with people.connect() as connection:
            await connection.execute(text("DROP SCHEMA ward_b CASCADE"))
        assert told == ["skipped"] * 3  # what is read under other names is not kept

    async def test_what_is_encrypted_is_kept_only_sealed(self, database: Database, told: list[str]) -> None:
        configure_encryption(["a key of the tests, thirty-two bytes or more"])
        try:
            async with wards(database):
                await admit(database, 1)
                for sealed in (False, False, True, True):
                    async with database.session() as db:
                        (patient,) = await ask(Patient, {"id": 1}, db, sealed=sealed)
                    assert patient.ssn == "number 1"
        finally:
            configure_encryption(None)
        assert [kind for kind in told if kind in ("unkept", "hit")] == ["unkept", "unkept", "hit"]

    async def test_many_who_ask_at_once_are_one_statement(self, people: Database, told: list[str]) -> None:
        async def one() -> int:
            async with people.session() as db:
                return len(await ask(Person, {}, db))

        with Failures(people, "", 0) as statements:
            assert await asyncio.gather(*(one() for _ in range(8))) == [2] * 8
        assert statements.asked == 1


class TestFailures:
    @pytest.mark.parametrize("ttl", [60.0, None])
    @pytest.mark.parametrize("code", ["40001", "40P01", "08006", "57P01"])
    async def test_what_may_pass_is_tried_again(
        self, default: Database, code: str, ttl: float | None
    ) -> None:
        async with default.session() as db:
            with Failures(default, code, 2) as failures:
                people = await ask(Person, {}, db, ttl=ttl, retrier=quick())
        assert len(people) == 2
        assert failures.asked == 3

    async def test_a_connection_that_breaks_is_replaced(self, default: Database) -> None:
        async with default.session() as db:
            pid = await db.scalar(text("SELECT pg_backend_pid()"))
            await db.commit()
            with Failures(default, DIES, 1) as failures:
                assert len(await ask(Person, {}, db, retrier=quick())) == 2
            assert await db.scalar(text("SELECT pg_backend_pid()")) != pid
        assert failures.asked == 2

    async def test_the_third_failure_is_raised_and_told(self, default: Database) -> None:
        async with default.session() as db:
            with Failures(default, "40001", 9) as failures, pytest.raises(SerializationFailure):
                await ask(Person, {}, db, retrier=quick())
        assert failures.asked == 3

    async def test_the_shared_retrier_says_in_the_log_that_it_tried_again(self, default: Database) -> None:
        async with default.session() as db:
            with capture_logs() as logs, Failures(default, "40001", 1):
                await ask(Person, {}, db)
        (line,) = [line for line in logs if line["event"] == "query.attempt_failed"]
        assert (line["operation"], line["verdict"]) == ("Person.optimized_query", "retried")

    @pytest.mark.parametrize(
        ("code", "error"), [("57014", DatabaseTimeout), ("55P03", DatabaseTimeout), ("42501", Exception)]
    )
    async def test_what_will_not_pass_is_not(
        self, default: Database, code: str, error: type[Exception]
    ) -> None:
        async with default.session() as db:
            with Failures(default, code, 9) as failures, pytest.raises(error):
                await ask(Person, {}, db, retrier=quick())
        assert failures.asked == 1

    async def test_in_a_transaction_of_the_callers_nothing_is_tried_again(self, default: Database) -> None:
        async with default.session() as db:
            await db.execute(text("SELECT 1"))
            with Failures(default, "40001", 9) as failures, pytest.raises(SerializationFailure):
                await ask(Person, {}, db, retrier=quick())
            assert db.in_transaction()
        assert failures.asked == 1

    async def test_objects_that_the_caller_has_are_not_expired_by_another_attempt(
        self, default: Database
    ) -> None:
        async with default.session() as db:
            ann = await db.get_one(Person, "ann")
            await db.commit()
            with Failures(default, "40001", 1), pytest.raises(SerializationFailure):
                await ask(Person, {}, db, retrier=quick())
            assert inspect(ann).expired_attributes == set()

    async def test_an_open_breaker_refuses_unless_the_result_is_kept(
        self, default: Database, told: list[str]
    ) -> None:
        async with default.session() as db:
            await ask(Person, {}, db)
        default.breaker.isolate()
        async with default.session() as db:
            assert len(await ask(Person, {}, db)) == 2
            with pytest.raises(PoolCircuitOpen):
                await ask(Person, {"id": "ann"}, db)
            with pytest.raises(PoolCircuitOpen):
                await ask(Person, {}, db, ttl=None)

    async def test_an_open_breaker_refuses_sessions_that_only_read_too(self, default: Database) -> None:
        default.breaker.isolate()
        async with default.read_session() as db:
            with pytest.raises(PoolCircuitOpen):
                await ask(Person, {}, db, ttl=None)

    async def test_the_primary_s_breaker_does_not_keep_reads_from_the_replica(
        self, default: Database, postgres_url: str, told: list[str]
    ) -> None:
        replica = Replica("postgresql://127.0.0.1:1/nowhere")
        database = Database(postgres_url, replica=replica)
        configure(database)
        database.breaker.isolate()
        async with database.read_session() as db:
            assert len(await ask(Person, {}, db, ttl=None)) == 2
            with pytest.raises(PoolCircuitOpen):  # It is on the primary now.
                await ask(Person, {}, db, ttl=None)
        await database.close()

    async def test_outages_open_the_breaker(self, default: Database) -> None:
        with Failures(default, "08006", 99):
            for _ in range(5):
                async with default.session() as db:
                    with pytest.raises(DatabaseUnavailable):
                        await ask(Person, {}, db, retrier=quick())
        assert default.breaker.snapshot().state == "open"

    async def test_the_breaker_of_the_process_minds_no_other_database(
        self, default: Database, postgres_url: str
    ) -> None:
        other = Database(postgres_url, application_name="another one")
        default.breaker.isolate()
        async with other.session() as db:
            assert len(await ask(Person, {}, db)) == 2
        await other.close()

    @pytest.mark.parametrize("ttl", [60.0, None])
    async def test_a_caller_who_goes_away_leaves_nothing_behind(
        self, default: Database, told: list[str], ttl: float | None
    ) -> None:
        async def read() -> int:
            async with default.session() as db:
                return len(await ask(Person, {}, db, ttl=ttl))

        async with default.session() as holder:
            await holder.execute(text("LOCK staff.persons"))
            first, second = asyncio.create_task(read()), asyncio.create_task(read())
            await until_a_session_waits(default)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            await holder.rollback()
        assert await second == 2
        assert default.pool_status().checked_out == 0
        assert default.breaker.snapshot().failures == 0

    async def test_it_is_timed_by_model_and_method(self, default: Database) -> None:
        def count(operation: str) -> float:
            labels = {"operation": f"Template.{operation}"}
            return REGISTRY.get_sample_value("db_latency_seconds_count", labels) or 0.0

        operations = ("optimized_query", "optimize_single_object_query")
        before = [count(operation) for operation in operations]
        async with default.session() as db:
            await ask(Template, {}, db)
            await ask_one(Template, {"id": 1}, db)
        assert [count(operation) for operation in operations] == [one + 1 for one in before]


T = TypeVar("T", bound=Staff)


class Persons(OptimizedQuerySetMixin[Person]):
    defaults: ClassVar[ReadOptions] = {"load": ["assignments"], "order_by": "-name"}


class Shared(OptimizedQuerySetMixin[T]):
    async def count(self) -> int:
        return len(await self.optimized_query())


class Templates(Shared[Template]):
    pass


def derived(name: str, *bases: type) -> type:
    return types.new_class(name, bases)


class TestQuerySets:
    async def test_it_asks_for_rows_of_its_model_with_its_own_options(self, people: Database) -> None:
        async with people.session() as db:
            persons = Persons(db)
            assert [person.name for person in await persons.optimized_query()] == ["Bob", "Ann"]
            assert [person.name for person in await persons.optimized_query(order_by="name", limit=1)] == [
                "Ann"
            ]
            ann = await persons.optimize_single_object_query({"id": "ann"})
            assert ann is not None
            assert len(ann.assignments) == 2
            assert await Templates(db).count() == 2
        assert (Persons.model, Templates.model) == (Person, Template)

    def test_a_mapped_base_is_refused_by_name_and_maps_nothing(self) -> None:
        before = list(inspect(Person).self_and_descendants)
        with pytest.raises(
            ConfigurationError,
            match=r"MyQuerySet.*Person.*class MyQuerySet\(OptimizedQuerySetMixin\[Person\]\)",
        ):
            derived("MyQuerySet", OptimizedQuerySetMixin, Person)
        with pytest.raises(ConfigurationError, match="Staff"):
            derived("MyQuerySet", OptimizedQuerySetMixin, Staff)
        with pytest.raises(ConfigurationError, match="Person"):
            derived("MyQuerySet", Persons, Person)
        assert list(inspect(Person).self_and_descendants) == before

    def test_one_that_names_no_model_is_refused(self) -> None:
        wrong: Any = OptimizedQuerySetMixin
        for base in (wrong, wrong[int], wrong["Person"], wrong[Staff]):
            with pytest.raises(ConfigurationError, match=r"OptimizedQuerySetMixin\[MyModel\]"):
                derived("Bare", base)

    @pytest.mark.parametrize("defaults", [{"prefetch": ["assignments"]}, {"ttl": 0}, {"scope": "planet"}])
    def test_options_that_make_no_sense_are_refused_at_once(self, defaults: Any) -> None:
        with pytest.raises(ConfigurationError, match=next(iter(defaults))):
            types.new_class(
                "Wrong",
                (OptimizedQuerySetMixin[Person],),
                exec_body=lambda body: body.update(defaults=defaults),
            )

    async def test_the_mixin_itself_and_one_without_a_model_yet_cannot_be_made(
        self, people: Database
    ) -> None:
        async with people.session() as db:
            for kind in (OptimizedQuerySetMixin, Shared):
                with pytest.raises(ConfigurationError, match="derive one"):
                    kind(db)
