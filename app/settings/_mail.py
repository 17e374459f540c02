"""Settings of e-mail, and of what people may do with it."""

from email.errors import MessageError
from email.policy import SMTP
from ipaddress import ip_address
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from app.settings._groups import Group


class MailSettings(Group):
    """E-mail to users: links, and notices of changes."""

    backend: Literal["auto", "smtp", "console", "none"] = Field(
        default="auto",
        description="Who sends e-mail; `auto`: smtp where MAIL__HOST is set, otherwise console, and none in production",
    )
    host: str | None = Field(default=None, description="The SMTP server")
    port: int = Field(default=587, ge=1, le=65535, description="Its port; 465 with implicit TLS")
    tls: Literal["starttls", "implicit", "none"] = Field(
        default="starttls", description="How it encrypts; none only for a server on this machine"
    )
    username: str | None = Field(default=None, description="User at the SMTP server; none: no login")
    password: SecretStr | None = Field(default=None, description="His password")
    timeout_s: float = Field(
        default=10, ge=0.1, le=300, description="Seconds for each step of the conversation"
    )
    sender: str = Field(
        default="no-reply@localhost", description="From whom e-mails are, address or `Name <address>`"
    )
    base_url: str = Field(
        default="http://localhost:8000",
        description="Where the pages are that links lead to; https in production. Never taken from a request",
    )
    per_address: int = Field(
        default=5, ge=1, le=1000, description="E-mails of one kind to one address per window"
    )
    address_window_s: int = Field(default=900, ge=60, le=86400, description="Seconds of that window")
    reset_ttl_s: int = Field(
        default=1800, ge=900, le=1800, description="Seconds that a link to set a new password is good"
    )
    verify_ttl_s: int = Field(
        default=86400, ge=900, le=604800, description="Seconds that a link to confirm an address is good"
    )

    @field_validator("sender")
    @classmethod
    def _is_one_address(cls, value: str) -> str:
        try:
            parsed = SMTP.header_factory("From", value)
        except (ValueError, IndexError, MessageError):
            raise ValueError("must be address or `Name <address>`") from None
        if parsed.defects or len(parsed.addresses) != 1 or not parsed.addresses[0].domain:
            raise ValueError("must be address or `Name <address>`")
        return value

    @field_validator("base_url")
    @classmethod
    def _names_pages(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            good = False
        if not good or any(one in value for one in "?#@\\ ") or not value.isprintable():
            raise ValueError("must be https://host[:port][/path], without a user, a query or a fragment")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.backend == "smtp" and self.host is None:
            raise ValueError("MAIL__BACKEND=smtp needs MAIL__HOST")
        if (self.username is None) != (self.password is None):
            raise ValueError("MAIL__USERNAME and MAIL__PASSWORD go together")
        return self

    def chosen(self, *, is_production: bool) -> Literal["smtp", "console", "none"]:
        """What ``auto`` means here."""
        if self.backend != "auto":
            return self.backend
        if self.host is not None:
            return "smtp"
        return "none" if is_production else "console"

    def unsafe(self) -> list[str]:
        """What stands against production."""
        is_smtp = self.chosen(is_production=True) == "smtp"
        checks = (
            (self.backend == "console", "MAIL__BACKEND is console: links would stand in the output"),
            (
                is_smtp and self.tls == "none" and not _is_here(self.host or ""),
                "MAIL__TLS is none: links would be sent in the clear",
            ),
            (is_smtp and not self.base_url.startswith("https://"), "MAIL__BASE_URL is not https"),
        )
        return [problem for found, problem in checks if found]


class RegistrationSettings(Group):
    """People who make an account for themselves, and what an address must be."""

    enabled: bool = Field(default=False, description="Let people register; needs e-mail")
    roles: list[str] = Field(default=[], description="Roles that whoever registers gets")
    scopes: list[str] = Field(default=[], description="Scopes that whoever registers gets")
    verified_sign_in: bool = Field(
        default=False, description="Only users whose e-mail address is verified may sign in"
    )


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
