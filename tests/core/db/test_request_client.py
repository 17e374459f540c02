from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends
from sqlalchemy import text

from app.core import APIRouter, JobConfig, api_worker, enforce_all_policies
from app.core.db import AsyncSession, Database, configure, get_db, get_db_client
from app.core.db._url import parse_url
from app.core.errors import ConfigurationError
from app.registry import Feature
from app.settings import Settings
from tests.cases import each_case
from tests.gated import serving

INSERT = text("INSERT INTO entries VALUES (1, 1, 'x')")
COUNT = text("SELECT count(*) FROM entries")


@pytest.fixture
def default(database: Database) -> Iterator[Database]:
    configure(database)
    yield database
    configure(None)


class TestCalled:
    async def test_its_block_is_one_transaction(self, default: Database, entries: None) -> None:
        async with get_db_client() as session:
            await session.execute(INSERT)
        async with get_db_client() as session:
            assert await session.scalar(COUNT) == 1

    async def test_an_error_undoes_it(self, default: Database, entries: None) -> None:
        with pytest.raises(ZeroDivisionError):
            async with get_db_client() as session:
                await session.execute(text(f"{INSERT}{1 / 0}"))
        async with get_db_client() as session:
            assert await session.scalar(COUNT) == 0

    async def test_one_that_nobody_opens_takes_no_connection(
        self, default: Database, no_connection_leaks: None
    ) -> None:
        assert get_db_client().provider == "postgresql"

    async def test_without_a_configured_database_it_says_so(self) -> None:
        configure(None)  # an application of another test may have left its own
        with pytest.raises(ConfigurationError):
            assert get_db_client().provider


class TestAsDependency:
    async def test_it_is_the_request_s_session_committed_by_its_route_and_given_back(
        self, settings: Settings, clean_store: None, entries: None, database: Database
    ) -> None:
        router, config, seen = APIRouter(), JobConfig.public(), list[Any]()

        @router.post("/entries", dependencies=[enforce_all_policies("entries", config)])
        @api_worker(config)
        async def add(session: Annotated[AsyncSession, Depends(get_db_client)], fail: bool) -> str:
            seen.append(session)
            await session.execute(INSERT)
            if fail:
                raise ZeroDivisionError
            return "added"

        async with serving(settings, Feature(name="example", router=router)) as service:
            assert (await service.client.post("/entries?fail=true")).status_code == 500
            assert (await service.client.post("/entries?fail=false")).status_code == 200
            assert service.platform.database.pool_status().checked_out == 0
        assert [isinstance(session, AsyncSession) for session in seen] == [True, True]
        async with database.session() as session:
            assert await session.scalar(COUNT) == 1

    async def test_a_stream_with_one_that_closes_too_early_is_refused(
        self, settings: Settings, clean_store: None
    ) -> None:
        router, config = APIRouter(), JobConfig.public()

        @router.get("/stream", dependencies=[enforce_all_policies("stream", config)])
        @api_worker(config)
        async def stream(session: Annotated[AsyncSession, Depends(get_db_client, scope="function")]) -> Any:
            yield await session.scalar(text("SELECT 1"))

        with pytest.raises(ConfigurationError, match="function-scope get_db"):
            async with serving(settings, Feature(name="example", router=router)):
                pass

    def test_it_looks_like_get_db_to_whoever_asks(self) -> None:
        assert get_db_client.__wrapped__ is get_db  # type: ignore[attr-defined]


@each_case(
    ("url", "provider", "through_pooler"),
    [
        ("postgresql://u:p@aws-0-eu.pooler.supabase.com:6543/postgres", "supabase", True),
        ("postgresql://u:p@aws-0-eu.pooler.supabase.com:5432/postgres", "supabase", False),
        ("postgresql://u:p@db.abc.supabase.co:6543/postgres", "supabase", True),
        ("postgresql://u:p@db.abc.supabase.co/postgres", "supabase", False),
        ("postgresql://u:p@db.abc.supabase.co:6543/postgres?pgbouncer=false", "supabase", False),
        ("postgresql://u:p@supabase.co.example.com:6543/postgres", "postgresql", False),
        ("postgresql://u:p@db.example.com:6543/postgres", "postgresql", False),
    ],
)
def test_supabase_is_known_by_its_host_and_its_pooler_by_its_port(
    url: str, provider: str, through_pooler: bool
) -> None:
    target = parse_url(url)
    assert (target.provider, target.through_pooler) == (provider, through_pooler)
    assert target.url.query.get("ssl") == ("require" if provider == "supabase" else None)
    assert ("statement_cache_size" in target.connect_args()) is through_pooler


def test_a_stricter_sslmode_stays() -> None:
    url = parse_url("postgresql://u:p@db.abc.supabase.co/postgres?sslmode=verify-full").url
    assert url.query["ssl"] == "verify-full"


class TestChoice:
    OWN, THEIRS = "postgresql://u:p@own/n", "postgresql://u:p@db.abc.supabase.co/postgres"

    @pytest.mark.parametrize(
        ("given", "chosen"),
        [
            ({"database_url": OWN}, OWN),
            ({"supabase_db_url": THEIRS}, THEIRS),
            ({"database_url": OWN, "supabase_db_url": THEIRS, "db_client": "supabase"}, THEIRS),
            ({"admin_database_url": OWN, "supabase_db_url": THEIRS, "db_client": "postgresql"}, OWN),
            ({"database_url": OWN, "db_client": "supabase"}, None),
        ],
    )
    def test_the_environment_chooses(
        self, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], chosen: str | None
    ) -> None:
        for name, value in given.items():
            monkeypatch.setenv(name.upper(), value)
        assert Settings(_env_file=None, app_env="test").postgres_url == chosen

    def test_two_without_a_choice_are_refused_by_name(self, make_settings: Callable[..., Settings]) -> None:
        with pytest.raises(ValueError, match="DB_CLIENT"):
            make_settings(supabase_db_url=self.THEIRS)
