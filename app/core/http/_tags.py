"""Tags of cached answers, as an endpoint declares them and as one request means them."""

from collections.abc import Mapping
from typing import Any

from app.core.policies import Caller
from app.core.valkey import escape

Scope = Mapping[str, Any]


def filled(templates: tuple[str, ...], scope: Scope, caller: Caller) -> tuple[str, ...]:
    """Tags with ``{user}``, ``{tenant}`` and path parameters filled in."""
    if not any("{" in template for template in templates):
        return templates
    values = {name: str(value) for name, value in scope.get("path_params", {}).items()}
    principal = caller.principal
    if principal is not None:
        values |= {"user": principal.id, "tenant": principal.tenant_id or principal.id}
    escaped = {name: escape(value) for name, value in values.items()}
    return tuple([template.format_map(_Known(escaped)) for template in templates])


class _Known(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return ""  # an anonymous caller of a public endpoint has no user
