"""Whose a cached value is: the key of a name for the caller in whose request the code runs."""

from functools import lru_cache
from hashlib import blake2b
from typing import Literal, get_args

from app.core.context import Principal, current_context
from app.core.errors import ConfigurationError
from app.core.valkey._keys import escape, joined

Scope = Literal["user", "tenant", "public"]
Name = str | tuple[str | int, ...]


def check_scope(scope: str) -> None:
    """Raise ConfigurationError for a word that is no scope."""
    if scope not in get_args(Scope):
        raise ConfigurationError(f"scope must be one of {', '.join(get_args(Scope))}, not {scope!r}")


def scoped_key(name: Name, scope: Scope) -> str | None:
    """The whole key of ``name``. None: the caller is anonymous and the value is not public, so it must not be kept.

    ``user``: the caller's own. ``tenant``: his tenant's, or his own if he has none. Both are kept apart by what the caller may do
    (scopes, roles), so that nobody is shown what was made with more rights than he has. ``public``: everybody's. Work outside a
    request, without a caller, has values of its own.
    """
    text = joined(name)
    if scope == "public":
        return f"{{p:{text}}}:v1:e"
    context = current_context()
    principal = context.principal
    if principal is None:
        is_request = context.request_id is not None or context.client_ip is not None
        return None if is_request else f"{{s:{text}}}:v1:e"
    tenant = context.tenant_id or principal.tenant_id
    rights = _rights(principal.scopes, principal.roles, tenant)
    return f"{{{_partition(principal, tenant, scope)}}}:v1:e:{rights}:{text}"


def _partition(principal: Principal, tenant: str | None, scope: Scope) -> str:
    return f"t:{escape(tenant)}" if scope == "tenant" and tenant else f"u:{escape(principal.id)}"


@lru_cache(maxsize=4096)
def _rights(scopes: frozenset[str], roles: frozenset[str], tenant: str | None) -> str:
    parts = "\0".join([*sorted(scopes), "", *sorted(roles), "", tenant or ""])
    return blake2b(parts.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
