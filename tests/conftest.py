"""Fixtures on real servers. All async fixtures and tests run on one session-wide loop."""

import gc

# Python's own pace, one look for every 700 new objects and a full search every so often, is a sixth of the run's time (measured); this one
# is a hundredth. Before the other imports, which leave no garbage.
gc.set_threshold(50_000, 50, 20)

import asyncio
import contextlib
import importlib.util
import os
import shutil
import sys
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import hypothesis
import pytest
import structlog
import uvloop
from fastapi import FastAPI
from hypothesis.internal.intervalsets import IntervalSet
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database, QueryWatch, forbid_connection_leaks, forbid_n_plus_one, upgrade
from app.core.observability import log_sink
from app.core.security import PasswordHasher
from app.core.valkey import ValkeyClient
from app.dev import EmbeddedPostgres
from app.settings import DEVELOPMENT_SECRET, Settings
from tests.apps import client_of, running
from tests.built_once import building_once
from tests.cluster import empty_cluster, running_node
from tests.emptying import empty_tables
from tests.leaks import LeakGuard
from tests.migrated import migrated
from tests.servers import (
    CopiedPostgres,
    PrivateServer,
    SharedServers,
    new_folder,
    new_valkey,
    url_of,
)

TEMPLATE = "gatehouse_template"
KNOWN_SECRETS = (
    DEVELOPMENT_SECRET,
    "a-secret-of-these-tests-with-over-32-bytes",
    "correct horse battery staple",
    "a key of the tests, thirty-two bytes or more",
)
_LOCK = 72_610_001
_WORKERINPUT = "gatehouse_servers"
_numbers = count(1)


class _Controller:
    """Under xdist the servers belong to the controller, because a worker may finish before the others."""

    def __init__(self) -> None:
        self.servers: SharedServers | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        if self.servers is None:
            self.servers = SharedServers.start()
        node.workerinput[_WORKERINPUT] = self.servers.values

    def pytest_unconfigure(self) -> None:
        if self.servers is not None:
            self.servers.stop()


def pytest_configure(config: pytest.Config) -> None:
    for name in list(os.environ):
        if name.partition("__")[0].lower() in {*Settings.model_fields, "policies"}:
            del os.environ[name]  # a developer's own configuration must not change a test
    config.pluginmanager.register(_Controller(), "gatehouse-controller")
    # No test is about how long an example takes on a busy machine.
    hypothesis.settings.register_profile("patient", deadline=None)
    hypothesis.settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """On a fresh checkout the assertions of hundreds of modules are rewritten, which takes longer than to import them: each worker begins
    with others, and finds the rest done by its neighbours.
    """
    worker: Mapping[str, Any] | None = getattr(session.config, "workerinput", None)
    if worker is None or session.config.args != session.config.getini("testpaths"):
        return
    tests = Path(__file__).parent
    names = [
        ".".join(file.relative_to(tests.parent).with_suffix("").parts)
        for file in sorted(tests.rglob("test_*.py"))
        if file.parent.name != "browser"  # not of this run, and a browser's driver takes long to import
    ]
    first = len(names) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    for name in names[first:] + names[:first]:
        with contextlib.suppress(Exception):  # collecting it will say what is wrong
            importlib.import_module(name)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable(
    config: pytest.Config,
) -> Generator[None, dict[str, Any] | None, dict[str, Any] | None]:
    """Of a test that passed, a worker does not tell which words select it, nor, unless it is asked for, what it wrote."""
    told = yield
    if told is not None and told.get("outcome") == "passed":
        unread: dict[str, Any] = {"keywords": {}}
        if not {"A", "P"} & {*config.option.reportchars}:
            unread["sections"] = []
        told.update({key: nothing for key, nothing in unread.items() if key in told})
    return told


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Pages in a real browser are a run of their own, ``make browser``; here not even its driver is imported."""
    is_browser = collection_path == Path(__file__).parent / "browser"
    return True if is_browser and not config.getoption("--browser", default=False) else None


def pytest_collection_finish() -> None:
    """Modules, tests and plugins stay until the end: no search for garbage needs to look at half a million such objects."""
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """pytest has just looked for garbage, whose end may complain: it would look once more and Python twice, at all that is in use."""
    gc.freeze()


@pytest.fixture(scope="session")
def leak_guard() -> Iterator[LeakGuard]:
    """Sees every log line and every exposition of metrics of the run. Tests that make up a secret give it to ``watch``."""
    guard = LeakGuard()
    for secret in KNOWN_SECRETS:
        guard.watch(secret)
    with guard.remembering(), log_sink.tapped(guard.look):
        yield guard


@pytest.fixture(autouse=True)
def no_secret_is_logged(leak_guard: LeakGuard) -> Iterator[None]:
    """Fails the test during which a secret got into the log."""
    yield
    leak_guard.check()


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest, leak_guard: LeakGuard) -> Iterator[Mapping[str, str]]:
    """How to reach the shared servers."""
    given: Mapping[str, Any] | None = getattr(request.config, "workerinput", None)
    started = SharedServers.start() if given is None else None
    values: Mapping[str, str] = started.values if started is not None else (given or {})[_WORKERINPUT]
    for name in ("postgres", "valkey"):
        leak_guard.watch(values[name].partition("@")[0].rpartition(":")[2], f"the password of {name}")
    yield values
    if started is not None:
        started.stop()


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A command that a test ran logs to the standard error of that test, which nobody can write to afterwards."""
    before = structlog.get_config()
    yield
    if structlog.get_config() != before:
        structlog.configure(**before)


@pytest.fixture(scope="session", autouse=True)
def quick_hashes() -> Iterator[Mapping[str, Any]]:
    """Hashes of passwords are weak in this process, where nobody asks for others: what is tested is not how long argon2 takes. The
    defaults as they stand in the code.
    """
    usual = dict(PasswordHasher.__init__.__kwdefaults__ or {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PasswordHasher.__init__, "__kwdefaults__", {**usual, "memory_kib": 64, "time_cost": 1})
        yield usual


@pytest.fixture(scope="session", autouse=True)
def no_turn_by_chance() -> Iterator[None]:
    """Periodic work of an app in this process begins after a whole period, never by chance in the middle of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.core.jobs.periodic._runner._SPREAD", lambda: 1.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def plain_tracebacks() -> Iterator[None]:
    """Where nobody configured the log, an exception is shown as Python shows it: to colour the source of each frame for a terminal, of
    which there is none, takes a tenth of a second an exception.
    """
    renderer = structlog.get_config()["processors"][-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renderer, "exception_formatter", structlog.dev.plain_traceback)
        yield


@pytest.fixture(scope="session", autouse=True)
def absent_modules() -> Iterator[None]:
    """What clients and Schemathesis ask for at every request, and is not installed, is known to be absent: Python looks through all
    folders for it each time, which takes a third of a millisecond.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("httpx", "sniffio"):
            if importlib.util.find_spec(name) is None:
                patch.setitem(sys.modules, name, None)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_alphabets() -> Iterator[None]:
    """Whether Hypothesis may draw a character is looked up. For each new alphabet it asks that of every text in our code, and would go
    through up to 700 intervals for each character, which takes three to eighteen times as long.
    """

    def holds(alphabet: IntervalSet, element: str | int) -> bool:
        code = ord(element) if isinstance(element, str) else element
        before = bisect_right(alphabet.intervals, (code, sys.maxunicode)) - 1
        return before >= 0 and code <= alphabet.intervals[before][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IntervalSet, "__contains__", holds)
        yield


@pytest.fixture(scope="session", autouse=True)
def built_once() -> Iterator[dict[tuple[Any, str], Any]]:
    """Routes and commands are not built anew for each test."""
    with building_once() as plain:
        yield plain


@pytest.fixture(scope="session")
def _asyncio_loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """The loop that the service has under a real server, and a quicker one. pytest-asyncio looks for it under this name; its hook for the
    purpose would give every test another parameter, and the tests another order.
    """
    return uvloop.new_event_loop


@pytest.fixture(scope="session")
def worker_number(request: pytest.FixtureRequest) -> int:
    """0, 1, ...: which xdist worker this is."""
    workerinput: Mapping[str, str] = getattr(request.config, "workerinput", {"workerid": "gw0"})
    return int(workerinput["workerid"].removeprefix("gw"))


def _dsn(url: str) -> str:
    return url.replace("+asyncpg", "")


@contextlib.asynccontextmanager
async def _connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(_dsn(url))
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture(scope="session")
async def postgres_url(servers: Mapping[str, str], worker_number: int) -> str:
    """This worker's own database, migrated: a copy of the template that the first worker makes."""
    name = f"gatehouse_{worker_number}"
    async with _connection(url_of(servers, "postgres")) as admin:
        await admin.execute("SELECT pg_advisory_lock($1)", _LOCK)
        if not await admin.fetchval(
            "SELECT true FROM pg_database WHERE datname = $1 AND NOT datallowconn", TEMPLATE
        ):
            await admin.execute(f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")
            await admin.execute(f"CREATE DATABASE {TEMPLATE}")
            await upgrade(url_of(servers, TEMPLATE))
            await admin.execute(f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false")
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    return url_of(servers, name)


@pytest.fixture(scope="session")
async def spare_postgres_url(servers: Mapping[str, str], worker_number: int) -> str:
    """A second database of this worker's own, in which no table lasts; making one costs as much as all migrations."""
    name = f"spare_{worker_number}"
    async with _connection(url_of(servers, "postgres")) as admin:
        await admin.execute(f"CREATE DATABASE {name}")
    return url_of(servers, name)


@pytest.fixture
async def empty_postgres_url(spare_postgres_url: str) -> AsyncIterator[str]:
    """A database without any table, for tests of migrations; emptied after the test, whoever is still connected."""
    yield spare_postgres_url
    async with _connection(spare_postgres_url) as owner:
        await owner.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await owner.execute("DROP SCHEMA public CASCADE")
        await owner.execute("CREATE SCHEMA public")


@pytest.fixture(scope="session")
def valkey_url(servers: Mapping[str, str], worker_number: int) -> str:
    """This worker's own numbered database of the shared Valkey."""
    return servers["valkey"].replace("?db=0", f"?db={worker_number}")


@pytest.fixture(scope="session")
async def database(postgres_url: str) -> AsyncIterator[Database]:
    """The data layer on this worker's database."""
    database = Database(postgres_url)
    yield database
    await database.close()


@pytest.fixture
async def db_session(database: Database) -> AsyncIterator[AsyncSession]:
    """A session whose every effect, commits included, is undone after the test."""
    async with database.engine.connect() as connection:
        outer = await connection.begin()
        async with AsyncSession(
            bind=connection,
            join_transaction_mode="create_savepoint",
            expire_on_commit=False,
            close_resets_only=False,
        ) as session:
            yield session
        await outer.rollback()


@pytest.fixture
def no_n_plus_one() -> Iterator[QueryWatch]:
    """Fails a test that reads a statement of one shape twice or more from one place; ``clear()`` forgets what ran so far."""
    with forbid_n_plus_one() as watch:
        yield watch


@pytest.fixture
def no_connection_leaks(database: Database) -> Iterator[None]:
    """Fails a test that does not give back a connection of ``database``, and names the line that took it."""
    with forbid_connection_leaks(database):
        yield


@pytest.fixture
async def clean_database(database: Database) -> AsyncIterator[None]:
    """Empties every table after the test; for tests that commit through the app. Fails when somebody still holds one of them."""
    yield
    await empty_tables(database)


@pytest.fixture(scope="session")
async def store(valkey_url: str) -> AsyncIterator[ValkeyClient]:
    """A client with a generous budget, so that a busy machine does not look like an outage."""
    client = ValkeyClient(valkey_url, timeout_s=2.0)
    yield client
    await client.close()


@pytest.fixture
async def clean_store(store: ValkeyClient) -> None:
    """Nothing is left in this worker's database of Valkey by earlier tests."""
    await store.execute("FLUSHDB")


@pytest.fixture
def private_valkey() -> Iterator[PrivateServer]:
    """A valkey-server of the test's own."""
    with new_valkey() as server:
        yield server


@pytest.fixture(scope="session")
def cluster_node() -> Iterator[PrivateServer]:
    """A Cluster of one node for one test after the other: the server lets two seconds pass before a new one serves."""
    with running_node() as node:
        yield node


@pytest.fixture
async def cluster(cluster_node: PrivateServer) -> AsyncIterator[ValkeyClient]:
    """A client of ``cluster_node``, which serves all slots and holds nothing."""
    async with empty_cluster(cluster_node) as client:
        yield client


@pytest.fixture(scope="session")
async def spare_postgres(servers: Mapping[str, str]) -> AsyncIterator[EmbeddedPostgres]:
    """A migrated PostgreSQL for one test after the other: to make its data takes far longer than to start it."""
    folder = new_folder()
    server = CopiedPostgres(folder / "postgres", await migrated(servers["pattern"]))
    server.start()
    yield server
    server.kill()
    shutil.rmtree(folder)


@pytest.fixture
async def private_postgres(spare_postgres: EmbeddedPostgres) -> AsyncIterator[PrivateServer]:
    """A PostgreSQL that no other test uses meanwhile, with a new, migrated database."""
    name = f"private_{next(_numbers)}"
    if not spare_postgres.is_running:
        spare_postgres.start()
    async with _connection(spare_postgres.url("template1")) as admin:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE postgres")
    yield PrivateServer(spare_postgres, lambda: spare_postgres.url(name))
    spare_postgres.kill()


@pytest.fixture(scope="session")
def make_settings(postgres_url: str, valkey_url: str) -> Callable[..., Settings]:
    """Settings for tests, with whatever a test wants changed."""

    def make(**changes: Any) -> Settings:
        values = {
            "app_env": "test",
            "database_url": postgres_url,
            "valkey_url": valkey_url,
            "valkey_timeout_ms": 2000,
        }
        return Settings(_env_file=None, **{**values, **changes})

    return make


@pytest.fixture(scope="session")
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """Settings for tests on the shared servers; the budget of Valkey is generous, because the machine is busy."""
    return make_settings()


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The whole service, started."""
    from app.main import create_app  # a second of imports that many tests do not need

    async with running(create_app(settings)) as app:
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP client of ``app``, in process."""
    async with client_of(app) as client:
        yield client
