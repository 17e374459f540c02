"""What is provided for the life of an account: registration, verification, another password or address, and the mails about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import SecretStr

from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.email_tokens import EmailTokens, TokenLives
from app.builtin.accounts.service.email_upkeep import EmailTokenUpkeep
from app.builtin.accounts.service.email_verification import EmailVerification
from app.builtin.accounts.service.letters import Letters
from app.builtin.accounts.service.mail_texts import MailTexts
from app.builtin.accounts.service.new_password import NewPassword
from app.builtin.accounts.service.password_change import PasswordChange
from app.builtin.accounts.service.password_proof import PasswordProof
from app.builtin.accounts.service.password_reset import PasswordReset
from app.builtin.accounts.service.registration import Registration
from app.builtin.accounts.service.revocation import Revocation
from app.builtin.accounts.service.sign_in_guard import SignInGuard
from app.core.http import Platform
from app.core.mail import ConsoleMailer, Mailer, Postman, SMTPMailer, Transport
from app.core.policies import AttemptLimit, RateLimit
from app.core.security import PasswordHasher


class _Mail(Protocol):
    host: str | None
    port: int
    tls: Literal["starttls", "implicit", "none"]
    username: str | None
    password: SecretStr | None
    timeout_s: float
    sender: str
    base_url: str
    per_address: int
    address_window_s: int
    reset_ttl_s: int
    verify_ttl_s: int


class _Registration(Protocol):
    enabled: bool
    roles: list[str]
    scopes: list[str]
    verified_sign_in: bool


class LifecycleSettings(Protocol):
    """The settings that are read here."""

    app_name: str
    secret_key: SecretStr
    mail: _Mail
    registration: _Registration

    @property
    def mail_backend(self) -> Literal["smtp", "console", "none"]:
        """Who sends mail."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What sign-in has too."""

    passwords: PasswordHasher
    guard: SignInGuard
    revocation: Revocation
    audit: AuditLog


def provide_lifecycle(
    platform: Platform, settings: LifecycleSettings, shared: Shared
) -> Mapping[type[Any], Any]:
    """The services, by type. A ``Mailer`` that an earlier feature provides is used instead of the settings' one.

    Raises ConfigurationError for roles and scopes that there are not.
    """
    chosen = settings.registration
    lives = TokenLives(reset_s=settings.mail.reset_ttl_s, verify_s=settings.mail.verify_ttl_s)
    tokens, letters = EmailTokens(lives, platform.clock), _letters(platform, settings)
    proof = PasswordProof(passwords=shared.passwords, guard=shared.guard)
    new = NewPassword(revocation=shared.revocation, tokens=tokens, audit=shared.audit, letters=letters)
    stored: Any = {
        "database": platform.database,
        "tokens": tokens,
        "letters": letters,
        "audit": shared.audit,
    }
    return {
        PasswordChange: PasswordChange(proof=proof, passwords=shared.passwords, new=new),
        PasswordReset: PasswordReset(**stored, passwords=shared.passwords, new=new),
        EmailVerification: EmailVerification(**stored, proof=proof),
        Registration: Registration(
            **stored,
            enabled=chosen.enabled,
            roles=chosen.roles,
            scopes=chosen.scopes,
            passwords=shared.passwords,
        ),
        EmailTokenUpkeep: EmailTokenUpkeep(platform.database, platform.clock),
    }


def _letters(platform: Platform, settings: LifecycleSettings) -> Letters:
    mail = settings.mail
    limit = RateLimit.fixed_window(
        "address", limit=mail.per_address, window=mail.address_window_s, on_store_down="closed"
    )
    secret = settings.secret_key.get_secret_value().encode()
    limits = AttemptLimit(platform.admitter, "mail", limit, secret=secret)
    mailer: Mailer | None = platform.services.get(Mailer) or _mailer(settings)
    postman = Postman(mailer) if mailer is not None else None
    if postman is not None:
        platform.on_stop.append(postman.close)
    return Letters(postman, MailTexts(settings.app_name, mail.base_url), limits)


def _mailer(settings: LifecycleSettings) -> Mailer | None:
    mail = settings.mail
    if settings.mail_backend == "console":
        return ConsoleMailer()
    if settings.mail_backend == "none" or mail.host is None:
        return None
    transport = Transport(
        host=mail.host,
        port=mail.port,
        tls=mail.tls,
        username=mail.username,
        password=mail.password.get_secret_value() if mail.password is not None else None,
        timeout_s=mail.timeout_s,
    )
    return SMTPMailer(transport, sender=mail.sender)
