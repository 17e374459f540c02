"""Others whose tokens are accepted beside ours: a Supabase project, and any OpenID Connect issuers."""

from collections.abc import Sequence
from typing import Protocol

from pydantic import SecretStr

from app.core.errors import ConfigurationError
from app.core.http import Platform
from app.core.security import (
    OidcIssuer,
    OidcTokens,
    OtherIssuer,
    SupabaseTokens,
    unknown_roles,
    unknown_scopes,
)


class _Issuer(Protocol):
    def options(self) -> OidcIssuer: ...


class IssuerSettings(Protocol):
    """The settings that name them."""

    supabase_url: str | None
    supabase_jwt_secret: SecretStr | None

    @property
    def oidc(self) -> Sequence[_Issuer]:
        """Each with what it is."""
        ...


def other_issuers(platform: Platform, settings: IssuerSettings) -> Sequence[OtherIssuer]:
    """All of them; closed with the application. Raises ConfigurationError where one is given a role or a scope that there is not."""
    issuers: list[SupabaseTokens | OidcTokens] = []
    if settings.supabase_url is not None:
        secret = settings.supabase_jwt_secret
        issuers.append(
            SupabaseTokens(
                settings.supabase_url,
                clock=platform.clock,
                hub=platform.hub,
                secret=secret.get_secret_value() if secret is not None else None,
            )
        )
    issuers += [
        OidcTokens(_checked(each.options()), clock=platform.clock, hub=platform.hub) for each in settings.oidc
    ]
    platform.on_stop += [issuer.aclose for issuer in issuers]
    return issuers


def _checked(issuer: OidcIssuer) -> OidcIssuer:
    """Here, where all features have registered their names."""
    unknown = unknown_roles(issuer.roles.names.values()) + unknown_scopes(issuer.scopes.names.values())
    if unknown:
        raise ConfigurationError(
            f"OIDC: {issuer.issuer} is to give {', '.join(map(repr, unknown))}, which is no role or scope here"
        )
    return issuer
