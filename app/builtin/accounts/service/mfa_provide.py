"""What second factors provide to the application."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from app.builtin.accounts.service.audit import AuditLog
from app.builtin.accounts.service.mfa import MfaDesk
from app.builtin.accounts.service.mfa_factor import SecondFactor
from app.builtin.accounts.service.mfa_sign_in import MfaSignIn
from app.builtin.accounts.service.mfa_step_up import StepUp
from app.builtin.accounts.service.revocation import Revocation
from app.builtin.accounts.service.sessions import Sessions
from app.core.errors import ConfigurationError
from app.core.resilience import Clock
from app.core.security import PasswordHasher, unknown_roles


class MfaSettings(Protocol):
    """The settings that second factors read."""

    issuer: str
    required_roles: list[str]


class MfaParts(NamedTuple):
    """What second factors are made of."""

    sessions: Sessions
    revocation: Revocation
    passwords: PasswordHasher
    audit: AuditLog
    clock: Clock


def provide_mfa(parts: MfaParts, settings: MfaSettings) -> Mapping[type[Any], Any]:
    """The services, by type."""
    factor = SecondFactor(parts.audit, parts.clock)
    return {
        SecondFactor: factor,
        MfaSignIn: MfaSignIn(parts.sessions, factor, parts.audit, parts.clock),
        StepUp: StepUp(parts.sessions, factor, parts.passwords),
        MfaDesk: MfaDesk(
            factor=factor,
            sessions=parts.sessions,
            revocation=parts.revocation,
            audit=parts.audit,
            clock=parts.clock,
            issuer=settings.issuer,
        ),
    }


def mfa_roles(settings: MfaSettings) -> frozenset[str]:
    """The roles that only sessions with a second factor have. Raises ConfigurationError for a role that there is not."""
    if strangers := unknown_roles(settings.required_roles):
        raise ConfigurationError(f"MFA__REQUIRED_ROLES: no role has the name {', '.join(strangers)}")
    return frozenset(settings.required_roles)
