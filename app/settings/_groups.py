"""Settings that belong together: ``GROUP__NAME`` in the environment."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

Network = IPv4Network | IPv6Network


class Group(BaseModel):
    """Frozen; a name that there is not is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CorsSettings(Group):
    """Cross-origin requests; off while ``origins`` is empty."""

    origins: list[str] = Field(
        default=[], description="Origins that browsers may call from; `*` is refused in production"
    )
    methods: list[str] = Field(
        default=["GET", "POST", "PUT", "PATCH", "DELETE"], description="Methods allowed across origins"
    )
    headers: list[str] = Field(
        default=["Authorization", "Content-Type", "Idempotency-Key", "X-API-Key", "X-Request-ID"],
        description="Request headers allowed across origins",
    )
    credentials: bool = Field(default=False, description="Let browsers send cookies across origins")
    max_age_s: int = Field(
        default=600, ge=0, le=86400, description="Seconds a browser may keep a preflight answer"
    )


class MetricsSettings(Group):
    """Who may read ``/metrics``: callers from ``networks``, or holders of ``token``."""

    networks: list[Network] = Field(
        default=[IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")],
        description="Networks that may read /metrics without a token",
    )
    token: SecretStr | None = Field(
        default=None, description="Bearer token that may read /metrics from anywhere"
    )


class LogSettings(Group):
    """Structured logs on standard output."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severe level that is written"
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: console on a terminal, JSON elsewhere"
    )


class TokenSettings(Group):
    """Access tokens, and the sessions that they belong to."""

    ttl_s: int = Field(default=900, ge=60, le=86400, description="Seconds an access token lives")
    issuer: str = Field(default="gatehouse", max_length=255, description="The `iss` of our tokens")
    audience: str = Field(default="gatehouse", max_length=255, description="The `aud` of our tokens")
    keys_dir: Path | None = Field(
        default=None,
        description="Folder of signing keys (`keys signing rotate`); none: SECRET_KEY signs, as HS256",
    )
    session_s: int = Field(
        default=2_592_000,
        ge=60,
        le=31_622_400,
        description="Seconds after a sign-in that its session can be refreshed at most",
    )
    session_idle_s: int = Field(
        default=604_800,
        ge=60,
        le=31_622_400,
        description="Seconds after which a session that was not refreshed is over",
    )
    refresh_grace_s: int = Field(
        default=20,
        ge=0,
        le=60,
        description="Seconds in which an exchanged refresh token answers with the same successor; later it ends its session",
    )
    refresh_per_minute: int = Field(
        default=10, ge=1, le=10_000, description="Refreshes of one session in any minute"
    )


class LoginSettings(Group):
    """Attempt limits of sign-ins and of bad credentials anywhere, and where an account is known."""

    per_account: int = Field(
        default=5,
        ge=1,
        le=10_000,
        description="Password attempts of one client network on one account per window",
    )
    per_network: int = Field(
        default=50,
        ge=1,
        le=10_000,
        description="Password attempts of one client network on all accounts per window; good ones do not count",
    )
    account_window_s: int = Field(
        default=900, ge=1, le=31_622_400, description="Seconds of these two windows"
    )
    delay_after: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description="Password attempts of all networks on one account before strangers must wait",
    )
    delay_s: int = Field(default=2, ge=1, le=86_400, description="Seconds that they wait at first")
    delay_max_s: int = Field(default=900, ge=1, le=86_400, description="Seconds that they wait at most")
    devices: int = Field(
        default=5, ge=1, le=100, description="Devices, and networks, that an account is known in"
    )
    device_days: int = Field(
        default=90, ge=1, le=365, description="Days after its last sign-in that a device is known"
    )
    failed_auth_per_ip: int = Field(
        default=60,
        ge=1,
        le=1_000_000,
        description="Requests with bad or no credentials per client network and minute",
    )

    @model_validator(mode="after")
    def _check_product(self) -> Self:
        """Limits beyond what the store counts exactly are refused here, where they have a name."""
        if max(self.per_account, self.per_network) * self.account_window_s > 9_000_000_000:
            raise ValueError("per_account and per_network times account_window_s are at most 9,000,000,000")
        if (max(self.per_account, self.delay_after) + 20) * self.delay_max_s > 31_622_400:
            raise ValueError(
                "per_account and delay_after, each plus 20, times delay_max_s are at most 31,622,400"
            )
        return self


class MfaSettings(Group):
    """Second factors."""

    issuer: str = Field(
        default="Gatehouse",
        min_length=1,
        max_length=64,
        pattern=r"^[^:\x00-\x1f\x7f]+$",
        description="Name that authenticator apps show for this service; no colon",
    )
    required_roles: list[str] = Field(
        default=[], description="Roles that are only in the tokens of sessions with a second factor"
    )


class ApiKeySettings(Group):
    """API keys of users."""

    max_days: int = Field(default=365, ge=1, le=3650, description="Days an API key lives at most")
    per_user: int = Field(default=50, ge=1, le=1000, description="API keys that a user may have at once")


class MonitorSettings(Group):
    """The database monitor, and the history that it keeps."""

    track_latency: bool = Field(
        default=True,
        description="Count statements and their durations by shape and route, and find what requests repeat",
    )
    history_months: int = Field(
        default=3,
        ge=1,
        le=120,
        description="Whole months that the monitor's history is kept, besides this one",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL's URL for the monitor's own role (pg_monitor, and SELECT on the tables); none: the service's role",
    )


class JobsSettings(Group):
    """Background jobs, and the worker that runs them."""

    queues: list[str] = Field(
        default=[],
        description="Queues that a worker takes jobs from, as JSON; none: those of all declared jobs",
    )
    concurrency: int = Field(
        default=64, ge=1, le=10_000, description="Async jobs that one worker has in work at once"
    )
    processes: int = Field(
        default=2, ge=1, le=256, description="Processes of one worker for plain functions, one job each"
    )
    grace_s: int = Field(
        default=30, ge=0, le=3600, description="Seconds that jobs in work get when a worker stops"
    )
    silent_s: float = Field(
        default=30,
        ge=1,
        le=3600,
        description="Seconds without a sign of life after which a worker's jobs are given to others",
    )
    keep_days: int = Field(default=30, ge=1, le=3650, description="Days that jobs are kept after their end")
    webhooks_http: bool = Field(
        default=False, description="Let webhooks go to http:// too; for development, refused in production"
    )
    webhooks_private: bool = Field(
        default=False,
        description="Let webhooks go to private networks and this machine; never to cloud metadata addresses",
    )
    health_host: str = Field(default="127.0.0.1", description="Address of a worker's probes and metrics")
    health_port: int | None = Field(
        default=None,
        ge=1,
        le=65_535,
        description="Port of a worker's /live, /ready and /metrics; none: they are not served",
    )


class ExternalDataSettings(Group):
    """The service that ``GET /external-data`` asks."""

    url: SecretStr | None = Field(
        default=None,
        description="Where GET /external-data asks, for example https://api.example.com/search; none: 503",
    )
    hosts: list[str] = Field(default=[], description="Further hosts that it may call, beside the URL's own")
    allow_private: bool = Field(
        default=False,
        description="Let it call private networks and this machine; never cloud metadata addresses",
    )
