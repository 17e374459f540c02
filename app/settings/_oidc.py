"""Issuers of others whose tokens are accepted: ``OIDC``, a JSON list."""

import json
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from app.core.errors import ConfigurationError
from app.core.security import NameMapping, OidcIssuer
from app.settings._groups import Group


class OidcNames(Group):
    """Which of an issuer's words are scopes, or roles, here."""

    claim: str | list[str] = Field(description="Where they stand: a claim's name, or a path into nested ones")
    prefix: str = Field(default="", description="What each begins with; it is cut off")
    names: list[str] | dict[str, str] = Field(
        description="Those that count; a mapping says what each is here"
    )

    def mapping(self) -> NameMapping:
        """As the verifier takes it. Raises ConfigurationError for too many."""
        claim = (self.claim,) if isinstance(self.claim, str) else tuple(self.claim)
        names = self.names if isinstance(self.names, dict) else {name: name for name in self.names}
        return NameMapping(claim=claim, prefix=self.prefix, names=names)


class OidcSettings(Group):
    """One issuer; see ``OidcIssuer``."""

    issuer: str = Field(description="The `iss` of its tokens, to the letter")
    audience: str = Field(description="What stands in their `aud` for this service")
    jwks_url: str | None = Field(default=None, description="Where its keys are; none: by discovery")
    algorithms: list[Literal["RS256", "ES256", "EdDSA"]] = Field(default=["RS256", "ES256", "EdDSA"])
    plain_jwt: bool = Field(default=False, description="Accept `typ` JWT, or none, beside at+jwt")
    trust_authentication: bool = Field(default=False, description="Believe `amr` and `auth_time`")
    scopes: OidcNames | None = Field(default=None, description="Its words for scopes; none: no scopes")
    roles: OidcNames | None = Field(default=None, description="Its words for roles; none: no roles")

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        try:
            self.options()
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        return self

    def options(self) -> OidcIssuer:
        """As the verifier takes it. Raises ConfigurationError that says what is wrong."""
        return OidcIssuer(
            issuer=self.issuer,
            audience=self.audience,
            jwks_url=self.jwks_url,
            algorithms=frozenset(self.algorithms),
            plain_jwt=self.plain_jwt,
            trust_authentication=self.trust_authentication,
            scopes=self.scopes.mapping() if self.scopes is not None else NameMapping(),
            roles=self.roles.mapping() if self.roles is not None else NameMapping(),
        )


def read_issuers(value: Any) -> Any:
    """The list in a text; one issuer may stand without the brackets. Raises ValueError for what is no JSON."""
    if not isinstance(value, str):
        return value
    try:
        said = json.loads(value)
    except ValueError:
        raise ValueError('must be a JSON list, [{"issuer": ..., "audience": ...}]') from None
    return [said] if isinstance(said, dict) else said
