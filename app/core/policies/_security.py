"""Who may call: scopes and roles. Decided in the process, before any state is touched or shown."""

import re
from dataclasses import dataclass, field

from app.core.context import Principal
from app.core.errors import PermissionDenied

# RFC 6749 section 3.3 allows more; a quote or backslash would break out of the challenge header.
_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._/-]{0,127}")


class InsufficientScope(PermissionDenied):
    """The token is valid and lacks a scope (RFC 6750 section 3.1)."""

    def __init__(self, missing: tuple[str, ...], required: tuple[str, ...]) -> None:
        super().__init__(
            f"This needs the scope {' '.join(missing)}.",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{" ".join(required)}"'},
            extensions={"missing_scopes": list(missing)},
        )


class ApiKeyRefused(PermissionDenied):
    """An API key is good for much, but not for this."""

    def __init__(self) -> None:
        super().__init__("This cannot be done with an API key; sign in, and present a token.")


class RoleMissing(PermissionDenied):
    """The caller has none of the roles that may do this."""

    def __init__(self, roles: tuple[str, ...]) -> None:
        super().__init__(
            f"This needs one of the roles {', '.join(roles)}.", extensions={"required_roles": list(roles)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """A valid token is always required; on top of it every scope of ``scopes`` and any one role of ``roles``.

    ``anonymous`` lets callers without credentials pass; only ``JobConfig.public()`` sets it. A token that is presented all the same is
    verified: a bad one is 401. ``api_keys=False``: only a token will do, an API key is 403; for what a person does to his own account,
    which whoever finds a key must not be able to do. Raises ValueError for names that could not stand in a challenge header.
    """

    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    anonymous: bool = False
    api_keys: bool = True
    _scope_set: frozenset[str] = field(init=False, repr=False, compare=False)
    _role_set: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for label, names in (("scopes", self.scopes), ("roles", self.roles)):
            if not isinstance(names, tuple):
                raise ValueError(f"Security.{label} is a tuple of names, not {names!r}")  # noqa: TRY004 - options raise ValueError
            for name in names:
                if not _SCOPE.fullmatch(name):
                    raise ValueError(f"Security.{label}: {name!r} is not a valid name")
        if self.anonymous and (self.scopes or self.roles):
            raise ValueError(
                "Security: an anonymous caller has no scopes or roles; leave anonymous out to require them"
            )
        object.__setattr__(self, "_scope_set", frozenset(self.scopes))
        object.__setattr__(self, "_role_set", frozenset(self.roles))

    def refusal(self, principal: Principal) -> PermissionDenied | None:
        """Why this caller may not pass, or None. Returned rather than raised: the gate charges attempt limits first."""
        if not self.api_keys and principal.api_key_id is not None:
            return ApiKeyRefused()
        if not self._scope_set <= principal.scopes:
            return InsufficientScope(tuple(s for s in self.scopes if s not in principal.scopes), self.scopes)
        if self._role_set and self._role_set.isdisjoint(principal.roles):
            return RoleMissing(self.roles)
        return None
