"""Who may call: scopes, roles, and how and when somebody proved who he is. Decided in the process, before any state is touched or shown."""

import re
from dataclasses import dataclass, field

from app.core.context import Principal
from app.core.errors import GatehouseError, NotAuthenticated, PermissionDenied
from app.core.resilience import Clock, SystemClock

# RFC 6749 section 3.3 allows more; a quote or backslash would break out of the challenge header.
_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._/-]{0,127}")

_SYSTEM = SystemClock()
LONGEST_AGE_S = 31_536_000
MFA = "mfa"
"""What ``amr`` says of more than one factor (RFC 8176), and our ``acr_values``."""


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


class StepUpRequired(NotAuthenticated):
    """The token is good, and what it proves is too weak or too long ago for this (RFC 9470 section 3). Its owner proves more, and
    calls again with the token that he gets for it.
    """

    def __init__(self, *, mfa: bool, max_age: int | None) -> None:
        challenge, extensions = ['Bearer error="insufficient_user_authentication"'], dict[str, str | int]()
        if mfa:
            extensions["acr_values"] = MFA
            challenge.append(f'acr_values="{MFA}"')
        if max_age is not None:
            extensions["max_age"] = max_age
            challenge.append(f'max_age="{max_age}"')
        what = "a sign-in with a second factor" if mfa else "a sign-in"
        recent = f" that is at most {max_age} s old" if max_age is not None else ""
        super().__init__(f"This needs {what}{recent}.", challenge=", ".join(challenge))
        self.extensions |= {"error": "insufficient_user_authentication", **extensions}


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """A valid token is always required; on top of it every scope of ``scopes`` and any one role of ``roles``.

    ``mfa``: the caller proved who he is with a second factor too: ``mfa`` is among his token's ``amr``. ``max_age``: whole seconds, 1 to
    31,536,000, since he last proved it, by whatever means (``auth_time``); with ``mfa`` it is the sign-in with both that must be so
    recent. What has no sign-in behind it, such as an API key, passes neither.

    ``anonymous`` lets callers without credentials pass; only ``JobConfig.public()`` sets it. A token that is presented all the same is
    verified: a bad one is 401. ``api_keys=False``: only a token will do, an API key is 403; for what a person does to his own account,
    which whoever finds a key must not be able to do. Raises ValueError for names that could not stand in a challenge header.
    """

    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    anonymous: bool = False
    mfa: bool = False
    max_age: int | None = None
    api_keys: bool = True
    _proves: bool = field(init=False, repr=False, compare=False)
    _scope_set: frozenset[str] = field(init=False, repr=False, compare=False)
    _role_set: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for label, names in (("scopes", self.scopes), ("roles", self.roles)):
            if not isinstance(names, tuple):
                raise ValueError(f"Security.{label} is a tuple of names, not {names!r}")  # noqa: TRY004 - options raise ValueError
            for name in names:
                if not _SCOPE.fullmatch(name):
                    raise ValueError(f"Security.{label}: {name!r} is not a valid name")
        self._check_proof()
        if self.anonymous and (self.scopes or self.roles):
            raise ValueError(
                "Security: an anonymous caller has no scopes or roles; leave anonymous out to require them"
            )
        object.__setattr__(self, "_proves", self.mfa or self.max_age is not None)
        object.__setattr__(self, "_scope_set", frozenset(self.scopes))
        object.__setattr__(self, "_role_set", frozenset(self.roles))

    def _check_proof(self) -> None:
        if not isinstance(self.mfa, bool):
            raise ValueError(f"Security.mfa must be True or False, not {self.mfa!r}")  # noqa: TRY004 - options raise ValueError
        if self.max_age is not None and (
            type(self.max_age) is not int or not 1 <= self.max_age <= LONGEST_AGE_S
        ):
            raise ValueError(
                f"Security.max_age must be 1 to {LONGEST_AGE_S} whole seconds, not {self.max_age!r}"
            )
        if self.anonymous and (self.mfa or self.max_age is not None):
            raise ValueError(
                "Security: an anonymous caller has proved nothing; leave anonymous out to require mfa or max_age"
            )

    def refusal(self, principal: Principal, clock: Clock = _SYSTEM) -> GatehouseError | None:
        """Why this caller may not pass, or None. Returned rather than raised: the gate charges attempt limits first.

        ``clock`` tells how long ago he signed in.
        """
        if not self.api_keys and principal.api_key_id is not None:
            return ApiKeyRefused()
        if not self._scope_set <= principal.scopes:
            return InsufficientScope(tuple(s for s in self.scopes if s not in principal.scopes), self.scopes)
        if self._role_set and self._role_set.isdisjoint(principal.roles):
            return RoleMissing(self.roles)
        # Last: it can be mended by proving more, which is in vain where a right is missing.
        if self._proves and self._is_unproved(principal, clock):
            return StepUpRequired(mfa=self.mfa, max_age=self.max_age)
        return None

    def _is_unproved(self, principal: Principal, clock: Clock) -> bool:
        if self.mfa and MFA not in principal.methods:
            return True
        return self.max_age is not None and clock.time() - principal.authenticated_at > self.max_age
