"""Scopes (what a token may do) and roles (what a person is): their syntax, and the names that this service
knows.

A feature that needs a name of its own registers it where it is imported, once:
``register_scope("read:orders", "List orders", roles=("clerk",))``. Granting an unknown name is refused, so a typing error
cannot become a permission that nothing checks. Roles carry scopes, by their full names: there are no wildcards, so that a scope which
is made known later is in nobody's hands unless its registration says so.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

_NAME = re.compile(r"[a-z][a-z0-9_.:-]{0,63}")
MAX_SCOPES = 64
MAX_ROLES = 64
MAX_RIGHTS_CHARACTERS = 4000  # of all names together: more of them would not fit into a token of 8 KiB

_scopes: dict[str, str] = {
    "read:records": "Read records",
    "write:records": "Create, change and delete records",
    "read:external": "Query external data",
    "read:credits": "See one's own credits",
    "write:credits": "Grant credits",
    "run:cpu_job": "Submit heavy calculations",
    "read:jobs": "See everybody's jobs",
    "write:jobs": "Cancel and retry everybody's jobs",
    "read:monitor": "See health details and the database monitor",
    "write:monitor": "Change what the database monitor may change",
}
_roles: dict[str, str] = {
    "db_reader": "May use endpoints that read the database",
    "io_user": "May use endpoints that call other services",
    "cpu_user": "May use endpoints that need much CPU",
    "admin": "Operates the service",
}
_carried: dict[str, set[str]] = {
    "db_reader": {"read:records"},
    "io_user": {"read:external"},
    "cpu_user": {"run:cpu_job"},
    "admin": {"write:credits", "read:jobs", "write:jobs", "read:monitor", "write:monitor"},
}

known_scopes: Mapping[str, str] = MappingProxyType(_scopes)
known_roles: Mapping[str, str] = MappingProxyType(_roles)


def register_scope(name: str, description: str, *, roles: Iterable[str] = ()) -> None:
    """Make a scope known, and put it into what ``roles`` carry. Raises ``ValueError`` if the name is not a scope's, or is known with
    another description, a role is unknown, or 64 others are known: a user may have all.
    """
    roles = _all_known("role", roles, _roles)
    _register(_scopes, name, description, MAX_SCOPES)
    for role in roles:
        _carried.setdefault(role, set()).add(name)


def register_role(name: str, description: str, *, scopes: Iterable[str] = ()) -> None:
    """Make a role known that carries ``scopes``, besides those that are registered for it. Raises ``ValueError`` if the name is not a
    role's, or is known with another description, a scope is unknown, or 64 others are known: a user may have all.
    """
    scopes = _all_known("scope", scopes, _scopes)
    _register(_roles, name, description, MAX_ROLES)
    _carried.setdefault(name, set()).update(scopes)


def scopes_of(roles: Iterable[str]) -> frozenset[str]:
    """The scopes that these roles carry; a role that nobody has registered carries none."""
    return frozenset(scope for role in roles for scope in _carried.get(role, ()))


def unknown_scopes(scopes: Iterable[str]) -> list[str]:
    """Those of ``scopes`` that nobody has registered, sorted."""
    return sorted(set(scopes) - _scopes.keys())


def unknown_roles(roles: Iterable[str]) -> list[str]:
    """Those of ``roles`` that nobody has registered, sorted."""
    return sorted(set(roles) - _roles.keys())


def check_rights(roles: Iterable[str], scopes: Iterable[str]) -> None:
    """Raises ``ValueError``, which says what is too much, for rights that no token can carry: more than 64 roles or 64 scopes, or names of
    more than 4,000 characters together. Ask before rights are given; whether names are known is another question.
    """
    roles, scopes = set(roles), set(scopes)
    for kind, names, most in (("roles", roles, MAX_ROLES), ("scopes", scopes, MAX_SCOPES)):
        if len(names) > most:
            raise ValueError(f"Nobody can have more than {most} {kind}.")
    if sum(len(name) for name in [*roles, *scopes]) > MAX_RIGHTS_CHARACTERS:
        raise ValueError(
            f"The names of somebody's roles and scopes have {MAX_RIGHTS_CHARACTERS} characters together at most."
        )


def is_role(name: str) -> bool:
    """Whether ``name`` looks like a role: a lower-case letter, then up to 63 of a-z, 0-9 and ``_.:-``."""
    return _NAME.fullmatch(name) is not None


def parse_scope(text: str) -> frozenset[str]:
    """The scopes in a space-separated list; the empty text holds none.

    Each has the form of a role's name. Raises ``ValueError`` for any other character (also tabs and line
    ends), and above 64 names.
    """
    names = text.split(" ") if text else []
    scopes = frozenset(name for name in names if name)
    if len(names) > MAX_SCOPES or not all(_NAME.fullmatch(name) for name in scopes):
        raise ValueError("a scope is a space-separated list of at most 64 names such as read:records")
    return scopes


def format_scope(scopes: Iterable[str]) -> str:
    """The space-separated list of ``scopes``, sorted, as tokens and answers carry it."""
    return " ".join(sorted(scopes))


def _all_known(kind: str, names: Iterable[str], known: Mapping[str, str]) -> list[str]:
    names = sorted(set(names))
    if strangers := [name for name in names if name not in known]:
        raise ValueError(f"no {kind} has the name {', '.join(strangers)}")
    return names


def _register(known: dict[str, str], name: str, description: str, most: int) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name: a lower-case letter, then up to 63 of a-z, 0-9 and _.:-")
    if name not in known and len(known) >= most:
        raise ValueError(f"{name!r} is one too many: a token carries {most} at most")
    if known.setdefault(name, description) != description:
        raise ValueError(f"{name!r} is registered with another description")
