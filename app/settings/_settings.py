"""The service's whole configuration."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.core import db
from app.core.errors import ConfigurationError
from app.settings._files import refuse_exposed
from app.settings._groups import (
    ApiKeySettings,
    CorsSettings,
    ExternalDataSettings,
    JobsSettings,
    LoginSettings,
    LogSettings,
    MetricsSettings,
    MfaSettings,
    MonitorSettings,
    Network,
    TokenSettings,
)
from app.settings._mail import MailSettings, RegistrationSettings
from app.settings._oidc import OidcSettings, read_issuers
from app.settings._sources import PolicyVariables

DEVELOPMENT_SECRET = "development-only-secret-key-never-use-in-production"  # noqa: S105 - refused in production
_LABEL = "[a-z0-9]([a-z0-9_-]*[a-z0-9])?"
_PROJECT = re.compile(rf"https?://({_LABEL}([.]{_LABEL})*|\[::1\])(:(?P<port>[1-9][0-9]{{0,4}}))?/?")


def _split(value: Any) -> Any:
    """Lists may be written as ``a,b`` as well as JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def _check_secret(name: str, secret: SecretStr) -> None:
    try:
        size = len(secret.get_secret_value().encode())
    except UnicodeEncodeError:  # bytes that are no text; the error would show them
        raise ValueError(f"{name} must be text: UTF-8") from None
    if size < 32:
        raise ValueError(f"{name} must be 32 bytes or more")


class Settings(BaseSettings):
    """The service's whole configuration; frozen. Raises ``pydantic.ValidationError`` that names the variable."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        env_nested_delimiter="__",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    app_env: Literal["development", "test", "production"] = Field(
        default="development", description="Where this runs; production is strict"
    )
    app_name: str = Field(
        default="gatehouse", description="Service name in logs, traces and database connections"
    )
    debug: bool = Field(default=False, description="Log at DEBUG; refused in production")
    host: str = Field(default="127.0.0.1", description="Address that `serve` listens on")
    port: int = Field(default=8000, ge=0, le=65535, description="Port that `serve` listens on")
    workers: int = Field(default=1, ge=1, le=256, description="Processes that `serve` starts")
    replicas: int = Field(
        default=1, ge=1, le=100_000, description="API processes in all; divides limits while Valkey is down"
    )

    secret_key: SecretStr = Field(
        default=SecretStr(DEVELOPMENT_SECRET), description="Signs tokens; 32 bytes or more"
    )
    secret_keys_accepted: Annotated[list[SecretStr], NoDecode] = Field(
        default=[],
        description="Further secrets whose tokens and cursors are accepted: the next SECRET_KEY or the last, comma separated",
    )
    encryption_keys: Annotated[list[SecretStr], NoDecode] = Field(
        default=[], description="Keys of field encryption, newest first, comma separated"
    )
    db_encryption_key: SecretStr | None = Field(
        default=None, description="One encryption key under its older name"
    )

    webhook_secrets: dict[str, SecretStr] = Field(
        default={},
        description="Secrets of those who send webhooks, by source, as JSON; several of one comma separated, newest first",
    )

    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL", "database_url"),
        description="PostgreSQL 15 to 18, postgresql+asyncpg://user:password@host/name",
    )
    admin_database_url: SecretStr | None = Field(
        default=None, description="Other name of DATABASE_URL; both set must be equal"
    )
    supabase_db_url: SecretStr | None = Field(
        default=None, description="A Supabase project's PostgreSQL; its transaction pooler is port 6543"
    )
    supabase_url: str | None = Field(
        default=None,
        description="A Supabase project whose tokens are accepted beside ours, https://<ref>.supabase.co; http outside production",
    )
    supabase_jwt_secret: SecretStr | None = Field(
        default=None, description="Its legacy JWT secret, for tokens signed with HS256; needs SUPABASE_URL"
    )
    oidc: Annotated[list[OidcSettings], NoDecode] = Field(
        default=[],
        max_length=16,
        description='Issuers whose access tokens are accepted beside ours, JSON: [{"issuer": "https://...", "audience": "..."}]',
    )
    db_client: Literal["auto", "postgresql", "supabase"] = Field(
        default="auto",
        description="Which database serves: DATABASE_URL or SUPABASE_DB_URL; `auto`: the one that is set",
    )
    database_replica_url: SecretStr | None = Field(
        default=None, description="A standby of that database, for transactions that only read"
    )
    db_replica_max_lag_s: float = Field(
        default=10,
        ge=0,
        le=86_400,
        description="Seconds the standby may be behind before reads go to the primary",
    )
    db_pool_size: int = Field(
        default=0, ge=0, le=10_000, description="Connections kept open (0: 5 in production, 2 elsewhere)"
    )
    db_max_overflow: int = Field(
        default=-1,
        ge=-1,
        le=10_000,
        description="Connections above that in a burst (-1: 10 in production, 5 elsewhere)",
    )
    db_pool_timeout: float = Field(default=30, gt=0, le=3600, description="Seconds to wait for a connection")
    db_pool_recycle: int = Field(
        default=1800, ge=-1, description="Seconds after which a connection is replaced (-1: never)"
    )
    db_statement_timeout_s: float = Field(
        default=30, ge=0, le=86_400, description="Seconds a statement may run (0: no limit)"
    )

    db_query_tags: Annotated[list[Literal["route", "policy", "request_id", "none"]], NoDecode] = Field(
        default=[],
        description="Comments on SQL statements: route, policy, request_id or none; unset: all in development, none elsewhere",
    )
    db_repeat_limit: int = Field(
        default=-1,
        ge=-1,
        le=10_000,
        description="Repetitions of one read in a request that are logged (-1: 5 in development, off elsewhere; 0: off)",
    )

    valkey_url: SecretStr | None = Field(
        default=None,
        description="Valkey 8 or newer, valkey://user:password@host:port/db (valkeys:// for TLS)",
    )
    redis_url: SecretStr | None = Field(
        default=None, description="Other name of VALKEY_URL; both set must be equal"
    )
    revocation_grace_s: int = Field(
        default=300,
        ge=1,
        le=86_400,
        description="Seconds that a token counts as good while Valkey or the database cannot tell whether it was revoked",
    )
    valkey_timeout_ms: int = Field(
        default=25,
        ge=1,
        le=10000,
        description="Milliseconds a policy waits for Valkey before its degraded mode",
    )
    valkey_clustered: bool = Field(
        default=False,
        description="Treat Valkey as a Cluster even if it does not say so (a proxy, no right to INFO); otherwise it is asked",
    )
    valkey_max_pending: int = Field(
        default=10000,
        ge=1,
        le=10_000_000,
        description="Commands waiting for an answer per process before new ones are refused",
    )

    max_body_bytes: int = Field(
        default=1_048_576,
        ge=0,
        le=1_073_741_824,
        description="Bytes of a request body, unless an endpoint says less",
    )
    body_timeout_s: float = Field(
        default=30, gt=0, le=3600, description="Seconds that a request's body may keep us waiting in all"
    )
    max_in_flight: int = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description="Requests worked on at once per process; more are answered 503",
    )
    keep_alive_s: int = Field(
        default=75,
        ge=1,
        le=3600,
        description="Seconds that an idle connection stays open; longer than the load balancer keeps its own, or it answers 502",
    )
    threads: int = Field(
        default=40, ge=1, le=10_000, description="Sync handlers that run at once per process; the others wait"
    )
    shutdown_grace_s: int = Field(
        default=10, ge=0, le=3600, description="Seconds that requests in flight get on shutdown"
    )
    trusted_proxies: Annotated[list[Network], NoDecode] = Field(
        default=[], description="Networks whose X-Forwarded-For is believed, comma separated"
    )
    tracing: bool = Field(
        default=False, description="Export OpenTelemetry traces; OTEL_* variables say where to"
    )
    embedded_servers: bool = Field(
        default=False, description="Set by `make run` when it started the servers; refused in production"
    )

    policies_file: Path | None = Field(
        default=None, description="TOML with overrides of policies; POLICIES__<NAME>__<FIELD> variables win"
    )
    policy_variables: dict[str, str] = Field(
        default={}, exclude=True, description="Every variable that begins with POLICIES__; not one itself"
    )

    top_up_url: str | None = Field(
        default=None, description="Where a caller without credits is sent; shown in 402 answers"
    )

    cors: CorsSettings = CorsSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
    token: TokenSettings = TokenSettings()
    login: LoginSettings = LoginSettings()
    mfa: MfaSettings = MfaSettings()
    monitor: MonitorSettings = MonitorSettings()
    jobs: JobsSettings = JobsSettings()
    api_key: ApiKeySettings = ApiKeySettings()
    external_data: ExternalDataSettings = ExternalDataSettings()
    mail: MailSettings = MailSettings()
    registration: RegistrationSettings = RegistrationSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The usual ones, and the overrides of policies; the environment stands above ``.env`` in these too."""
        refuse_exposed(dotenv_settings, init_settings, env_settings)
        overrides = PolicyVariables(settings_cls, dotenv_settings, env_settings)
        return init_settings, overrides, env_settings, dotenv_settings, file_secret_settings

    @field_validator(
        "encryption_keys", "secret_keys_accepted", "db_query_tags", "trusted_proxies", mode="before"
    )
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return _split(value)

    @field_validator("oidc", mode="before")
    @classmethod
    def _issuers(cls, value: Any) -> Any:
        return read_issuers(value)

    @field_validator("db_repeat_limit")
    @classmethod
    def _one_is_no_repetition(cls, value: int) -> int:
        if value == 1:
            raise ValueError("must be 2 or more, 0 for off, or -1")
        return value

    @model_validator(mode="after")
    def _aliases_agree(self) -> Self:
        for name, other in (("database_url", "admin_database_url"), ("valkey_url", "redis_url")):
            value, alias = getattr(self, name), getattr(self, other)
            if (
                value is not None
                and alias is not None
                and value.get_secret_value() != alias.get_secret_value()
            ):
                raise ValueError(
                    f"{name.upper()} and {other.upper()} are both set and differ; set one of them"
                )
        return self

    @model_validator(mode="after")
    def _one_database_is_meant(self) -> Self:
        own = self.database_url or self.admin_database_url
        if self.db_client == "auto" and own is not None and self.supabase_db_url is not None:
            raise ValueError(
                "DATABASE_URL and SUPABASE_DB_URL are both set; say DB_CLIENT=postgresql or DB_CLIENT=supabase"
            )
        return self

    @field_validator("supabase_url")
    @classmethod
    def _names_a_project(cls, value: str | None) -> str | None:
        if value is None:
            return None
        found = _PROJECT.fullmatch(value)
        if found is None or int(found["port"] or 0) > 65_535:
            raise ValueError("must be https://host or http://host[:port], without a path, a user or a query")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _project_is_named(self) -> Self:
        secret = self.supabase_jwt_secret
        if secret is None:
            return self
        if self.supabase_url is None:
            raise ValueError("SUPABASE_JWT_SECRET needs SUPABASE_URL: it names whose tokens the secret signs")
        if len(secret.get_secret_value().encode(errors="replace")) < 32:
            raise ValueError("SUPABASE_JWT_SECRET must be 32 bytes or more")
        return self

    @model_validator(mode="after")
    def _secrets_are_long_enough(self) -> Self:
        _check_secret("SECRET_KEY", self.secret_key)
        for secret in self.secret_keys_accepted:
            _check_secret("Each of SECRET_KEYS_ACCEPTED", secret)
        return self

    @model_validator(mode="after")
    def _mail_is_there_where_it_is_needed(self) -> Self:
        if self.registration.enabled and self.mail_backend == "none":
            raise ValueError("REGISTRATION__ENABLED needs e-mail: set MAIL__HOST")
        return self

    @model_validator(mode="after")
    def _production_is_safe(self) -> Self:
        if self.is_production and (problems := self.unsafe_for_production()):
            raise ValueError("APP_ENV=production refuses to start: " + "; ".join(problems))
        return self

    @property
    def is_production(self) -> bool:
        """Whether this is the strict environment."""
        return self.app_env == "production"

    @property
    def postgres_url(self) -> str | None:
        """The URL of the database that ``DB_CLIENT`` chooses."""
        own = self.database_url or self.admin_database_url
        url = {"postgresql": own, "supabase": self.supabase_db_url, "auto": own or self.supabase_db_url}[
            self.db_client
        ]
        return url.get_secret_value() if url else None

    @property
    def store_url(self) -> str | None:
        """Valkey's URL under either of its names."""
        url = self.valkey_url or self.redis_url
        return url.get_secret_value() if url else None

    @property
    def sealing_keys(self) -> list[str]:
        """What ``Sealer`` is made of, newest first; ``SECRET_KEY`` alone serves outside production."""
        keys = [*self.encryption_keys, *([self.db_encryption_key] if self.db_encryption_key else [])]
        if not keys and not self.is_production:
            keys = [self.secret_key, *self.secret_keys_accepted]
        return [key.get_secret_value() for key in keys]

    @property
    def mail_backend(self) -> Literal["smtp", "console", "none"]:
        """``MAIL__BACKEND``, or what ``auto`` means here."""
        return self.mail.chosen(is_production=self.is_production)

    @property
    def secrets(self) -> list[str]:
        """``SECRET_KEY``, then those of ``SECRET_KEYS_ACCEPTED``."""
        keys = [self.secret_key, *self.secret_keys_accepted]
        return list(dict.fromkeys(key.get_secret_value() for key in keys))

    @property
    def pool_size(self) -> int:
        """``DB_POOL_SIZE``, or the environment's default."""
        return self.db_pool_size or (5 if self.is_production else 2)

    @property
    def query_tags(self) -> tuple[str, ...]:
        """``DB_QUERY_TAGS``, or the environment's default."""
        all_of_them = ("route", "policy", "request_id") if self.app_env == "development" else ()
        chosen = self.db_query_tags or all_of_them
        return tuple(tag for tag in chosen if tag != "none")

    @property
    def repeat_limit(self) -> int:
        """``DB_REPEAT_LIMIT``, or the environment's default; 0 is off."""
        return self.db_repeat_limit if self.db_repeat_limit >= 0 else 5 * (self.app_env == "development")

    @property
    def max_overflow(self) -> int:
        """``DB_MAX_OVERFLOW``, or the environment's default."""
        return self.db_max_overflow if self.db_max_overflow >= 0 else (10 if self.is_production else 5)

    @property
    def database_options(self) -> dict[str, Any]:
        """What ``Database`` takes besides its URL."""
        return {
            "pool_size": self.pool_size,
            "max_overflow": self.max_overflow,
            "pool_timeout_s": self.db_pool_timeout,
            "pool_recycle_s": self.db_pool_recycle,
            "statement_timeout_s": self.db_statement_timeout_s,
            "application_name": self.app_name,
            "query_tags": self.query_tags,
        }

    @property
    def webhook_keys(self) -> dict[str, list[str]]:
        """What ``WebhookKeys`` are made of, by source."""
        return {
            source.lower(): _split(secrets.get_secret_value())
            for source, secrets in self.webhook_secrets.items()
        }

    def replica(self, **options: Any) -> db.Replica | None:
        """The standby that ``DATABASE_REPLICA_URL`` names; ``options`` are ``Replica``'s, besides those of the database.

        Raises ConfigurationError for a URL that is none.
        """
        url = self.database_replica_url
        if url is None:
            return None
        given = {**self.database_options, "max_lag_s": self.db_replica_max_lag_s, **options}
        try:
            return db.Replica(url.get_secret_value(), **given)
        except ConfigurationError as error:
            raise ConfigurationError(str(error).replace("DATABASE_URL", "DATABASE_REPLICA_URL")) from None

    def unsafe_for_production(self) -> list[str]:
        """What would have to change before this configuration may serve the public; each entry names its variable."""
        checks = (
            (
                self.secret_key.get_secret_value() == DEVELOPMENT_SECRET,
                "SECRET_KEY is the development secret",
            ),
            (
                DEVELOPMENT_SECRET in self.secrets[1:],
                "SECRET_KEYS_ACCEPTED holds the development secret",
            ),
            (self.debug, "DEBUG is on"),
            (
                self.supabase_url is not None and not self.supabase_url.startswith("https://"),
                "SUPABASE_URL is not https: whoever stands between could sign tokens",
            ),
            (
                not all(each.options().is_encrypted for each in self.oidc),
                "OIDC names an address that is not https: whoever stands between could sign tokens",
            ),
            ("*" in self.cors.origins, "CORS__ORIGINS contains *"),
            (
                self.jobs.webhooks_http,
                "JOBS__WEBHOOKS_HTTP is on: whoever stands between could read messages",
            ),
            (not self.encryption_keys and self.db_encryption_key is None, "ENCRYPTION_KEYS is not set"),
            (self.embedded_servers, "EMBEDDED_SERVERS is on: the database is a development server"),
            (self.postgres_url is None, "DATABASE_URL is not set"),
            (self.store_url is None, "VALKEY_URL is not set"),
        )
        return [*(problem for found, problem in checks if found), *self.mail.unsafe()]


def describe_errors(error: ValidationError) -> str:
    """What is wrong with a configuration, in one line that names the variables and shows no value."""
    parts = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        name = "__".join(str(part) for part in item["loc"]).upper()
        message = item["msg"].removeprefix("Value error, ")
        parts.append(f"{name}: {message}" if name else message)
    return "; ".join(parts)
