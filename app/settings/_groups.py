"""Settings that belong together: ``GROUP__NAME`` in the environment."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

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
        default=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID"],
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


class LoginSettings(Group):
    """Attempt limits of POST /auth/token and of bad credentials anywhere."""

    per_account: int = Field(
        default=10, ge=1, le=1_000_000, description="Password attempts per account and window"
    )
    account_window_s: int = Field(
        default=900, ge=1, le=31_622_400, description="Seconds of the account's window"
    )
    failed_auth_per_ip: int = Field(
        default=60,
        ge=1,
        le=1_000_000,
        description="Requests with bad or no credentials per client network and minute",
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
