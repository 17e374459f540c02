import pytest

from app.core.db import Database, normalize_url
from app.core.db._url import parse_url
from app.core.errors import ConfigurationError


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
    "text", ["mysql://u:hunter2@h/n", "hunter2", "", "://hunter2", "postgresql://u:hunter2@h:port/n"]
)
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
