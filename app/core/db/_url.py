"""Where the database is: one URL in, whatever the driver wants out.

People write URLs in several dialects: ``postgres://`` (hosting panels), ``postgresql://`` (libpq),
``?sslmode=`` (libpq), ``?pgbouncer=true`` (poolers), a percent-encoded socket folder as host. All of them are
accepted here and nowhere else.
"""

from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, unquote, urlencode
from uuid import uuid4

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.core.errors import ConfigurationError

_DRIVER = "postgresql+asyncpg"
_SUPABASE = (".supabase.co", ".supabase.com")
_POOLER_PORT = 6543  # https://supabase.com/docs/guides/database/connecting-to-postgres
Provider = Literal["postgresql", "supabase"]
_DIALECTS = frozenset({"postgres", "postgresql"})
_OURS = frozenset({"host", "port", "target_session_attrs"})  # The driver takes these as they are.
_SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
_CHOICES = {
    "sslmode": _SSL_MODES,
    "ssl": _SSL_MODES,
    "target_session_attrs": frozenset(
        {"any", "primary", "standby", "read-write", "read-only", "prefer-standby"}
    ),
}
# Of libpq (https://www.postgresql.org/docs/current/libpq-connect.html), and not of the driver, which would send them as settings of the
# server; those of the last line are its own, and not to be said here.
_UNKNOWN = frozenset(
    {
        "channel_binding",
        "require_auth",
        "requirepeer",
        "gssencmode",
        "gssdelegation",
        "sslcompression",
        "sslsni",
        "sslcertmode",
    }
    | {
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
        "load_balance_hosts",
    }
    | {"hostaddr", "fallback_application_name", "replication", "sslcrldir"}
    | {"statement_cache_size", "prepared_statement_cache_size", "command_timeout"}
)


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL.

    ``through_pooler`` is true for a transaction pooler, where nothing may outlive a transaction.
    """

    url: URL
    through_pooler: bool
    provider: Provider = "postgresql"
    connect_timeout_s: float | None = None

    def __repr__(self) -> str:
        return f"Target(host={self.url.host or self.url.query.get('host')!r}, database={self.url.database!r})"

    @property
    def engine_url(self) -> URL:
        """The URL without libpq's options: engines show theirs, and one of those options is a password."""
        return self.url.difference_update_query(["dsn"])

    def connect_args(self) -> dict[str, Any]:
        """Driver options: libpq's, and for a pooler in transaction mode that no statement is remembered by name."""
        arguments: dict[str, Any] = {"dsn": self.url.query["dsn"]} if "dsn" in self.url.query else {}
        if self.connect_timeout_s is not None:
            arguments["timeout"] = self.connect_timeout_s
        if self.through_pooler:
            arguments["statement_cache_size"] = arguments["prepared_statement_cache_size"] = 0
            arguments["prepared_statement_name_func"] = lambda: f"__gatehouse_{uuid4()}__"
        return arguments


def normalize_url(text: str) -> URL:
    """The same place as a URL that SQLAlchemy and asyncpg understand.

    Raises ``ConfigurationError``, without any part of the URL in its text: it may hold a password.
    """
    return parse_url(text).url


def parse_url(text: str) -> Target:
    """As ``normalize_url``, and tell a transaction pooler (``?pgbouncer=true``, or Supabase's port 6543) from a server."""
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "DATABASE_URL is not a URL; write postgresql+asyncpg://user:password@host:5432/name"
        ) from None
    dialect, _, _driver = url.drivername.partition("+")
    if dialect not in _DIALECTS:
        raise ConfigurationError(
            "DATABASE_URL must name PostgreSQL: postgresql+asyncpg://user:password@host:5432/name"
        )
    _check(url)
    query = dict(url.query)
    told = str(query.pop("pgbouncer", "")).lower()
    timeout = query.pop("connect_timeout", None)
    is_supabase = (url.host or "").lower().endswith(_SUPABASE)
    through_pooler = told in {"1", "true", "yes", "on"} if told else is_supabase and url.port == _POOLER_PORT
    if is_supabase and not query.keys() & {"ssl", "sslmode"}:
        query["sslmode"] = "require"  # It takes unencrypted connections too, unless its owner forbids them.
    url = _with_socket_folder(url.set(drivername=_DRIVER, query=query))
    provider: Provider = "supabase" if is_supabase else "postgresql"
    return Target(
        _with_libpq_options(url), through_pooler, provider, None if timeout is None else float(str(timeout))
    )


def _check(url: URL) -> None:
    """Refuse now what the driver would refuse at the first request. Raises ConfigurationError."""
    if url.port is not None and not 1 <= url.port <= 65_535:
        raise ConfigurationError("DATABASE_URL has a port that is none: 1 to 65535")
    if "@" in (url.database or ""):
        raise ConfigurationError(
            "DATABASE_URL has an @ behind the host: write / as %2F, and @ as %40, in the password"
        )
    for name, value in url.query.items():
        if name in _UNKNOWN:
            raise ConfigurationError(
                f"DATABASE_URL has the option {name}, which the driver does not know; leave it out"
            )
        if not isinstance(value, str) and name not in {"host", "port"}:
            raise ConfigurationError(f"DATABASE_URL says {name} more than once")
        if name in _CHOICES and value not in _CHOICES[name]:
            raise ConfigurationError(f"DATABASE_URL: {name} is one of {', '.join(sorted(_CHOICES[name]))}")
        if name == "connect_timeout" and not (str(value).isdecimal() and 1 <= int(str(value)) <= 600):
            raise ConfigurationError("DATABASE_URL: connect_timeout is 1 to 600 seconds")


def _with_socket_folder(url: URL) -> URL:
    """``postgresql://user@%2Frun%2Fpostgresql/name`` says the socket's folder where a host name would be."""
    host = unquote(url.host) if url.host else None
    if host is None or not host.startswith("/"):
        return url
    query = dict(url.query) | {"host": host} | ({"port": str(url.port)} if url.port else {})
    # A URL without a host must not keep its port: the driver would take the port for a host's.
    return URL.create(url.drivername, url.username, url.password, None, None, url.database, query)


def _with_libpq_options(url: URL) -> URL:
    """Hand libpq's own options (sslmode, sslrootcert, ...) to the driver as a second, otherwise empty URL.

    The driver knows their meaning and defaults; a list of our own would only fall behind.
    """
    libpq = {
        name: value for name, value in url.query.items() if name not in _OURS and name not in {"dsn", "ssl"}
    }
    if not libpq:
        return url
    if set(libpq) == {"sslmode"}:
        return url.difference_update_query(["sslmode"]).update_query_dict({"ssl": str(libpq["sslmode"])})
    dsn = "postgresql://?" + urlencode({name: str(value) for name, value in libpq.items()}, quote_via=quote)
    return url.difference_update_query(list(libpq)).update_query_dict({"dsn": dsn})
