import pytest
from sqlalchemy import text

from app.core.db import Database, normalize_url
from app.core.db._url import parse_url
from app.core.errors import ConfigurationError
from tests.cases import each_case


@each_case(
    "text",
    [
        "postgres://u:p@db.example:5433/name",
        "postgresql://u:p@db.example:5433/name",
        "postgresql+asyncpg://u:p@db.example:5433/name",
        "postgresql+psycopg://u:p@db.example:5433/name\n",
    ],
)
def test_every_spelling_becomes_the_asyncpg_dialect(text: str) -> None:
    url = normalize_url(text).render_as_string(hide_password=False)
    assert url == "postgresql+asyncpg://u:p@db.example:5433/name"


def test_sslmode_is_passed_under_the_drivers_name() -> None:
    assert dict(normalize_url("postgresql://u:p@h/n?sslmode=require").query) == {"ssl": "require"}


def test_other_libpq_options_are_left_to_the_driver() -> None:
    query = normalize_url("postgresql://u:p@h/n?sslmode=verify-full&sslrootcert=/etc/ca file.pem").query
    assert dict(query) == {"dsn": "postgresql://?sslmode=verify-full&sslrootcert=%2Fetc%2Fca%20file.pem"}


def test_socket_folder_as_host_moves_into_the_query() -> None:
    url = normalize_url("postgresql://u:p@%2Frun%2Fpg:5433/n")
    assert url.host is None
    assert url.port is None
    assert dict(url.query) == {"host": "/run/pg", "port": "5433"}


def test_pooler_flag_turns_prepared_statements_off() -> None:
    target = parse_url("postgresql://u:p@h:6543/n?pgbouncer=true")
    arguments = target.connect_args()
    assert "pgbouncer" not in target.url.query
    assert arguments["statement_cache_size"] == arguments["prepared_statement_cache_size"] == 0
    name = arguments["prepared_statement_name_func"]
    assert name() != name()


def test_without_the_flag_the_driver_keeps_its_defaults() -> None:
    assert parse_url("postgresql://u:p@h/n").connect_args() == {}


@each_case("text", ["mysql://u:hunter2@h/n", "hunter2", "", "://hunter2", "postgresql://u:hunter2@h:port/n"])
def test_what_is_no_postgresql_url_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        normalize_url(text)
    assert "DATABASE_URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_password_is_not_in_any_repr() -> None:
    database = Database("postgresql://u:hunter2@h/n?sslmode=verify-ca&sslpassword=hunter2")
    assert "hunter2" not in repr(database)
    assert "hunter2" not in repr(database.engine.url)
    assert "hunter2" in database.url


@each_case(
    ("url", "says"),
    [
        ("postgresql://u:hunter2@h/n?sslmode=on", "sslmode is one of"),
        ("postgresql://u:hunter2@h/n?ssl=true", "ssl is one of"),
        ("postgresql://u:hunter2@h/n?sslmode=require&sslmode=disable", "sslmode more than once"),
        ("postgresql://u:hunter2@h/n?target_session_attrs=master", "target_session_attrs is one of"),
        ("postgresql://u:hunter2@h/n?sslmode=require&channel_binding=require", "channel_binding"),
        ("postgresql://u:hunter2@h/n?statement_cache_size=0", "statement_cache_size"),
        ("postgresql://u:hunter2@h/n?connect_timeout=soon", "connect_timeout"),
        ("postgresql://u:hunter2@h/n?connect_timeout=0", "connect_timeout"),
        ("postgresql://u:hunter2@h/n?connect_timeout=\u0663x", "connect_timeout"),
        ("postgresql://u:hunter2@h:99999/n", "port"),
        ("postgresql://u:hunter2@h:0/n", "port"),
        ("postgresql://u:p@ss/hunter2@h/n", "%40"),
    ],
)
def test_what_the_driver_would_refuse_at_the_first_request_stops_the_start(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        Database(url)
    assert "hunter2" not in str(caught.value)


async def test_options_that_people_copy_from_their_panel_connect(postgres_url: str) -> None:
    database = Database(f"{postgres_url}&sslmode=prefer&connect_timeout=7&search_path=pg_catalog")
    assert parse_url(f"{postgres_url}&connect_timeout=7").connect_args() == {"timeout": 7.0}
    async with database.connect() as connection:
        assert await connection.scalar(text("SHOW search_path")) == "pg_catalog"
    await database.close()


def test_a_provider_is_known_in_capitals_too() -> None:
    target = parse_url("postgresql://u:p@AWS.POOLER.SUPABASE.COM:6543/postgres")
    assert (target.provider, target.through_pooler, target.url.query["ssl"]) == ("supabase", True, "require")
