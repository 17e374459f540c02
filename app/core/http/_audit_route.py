"""One route as the boot audit sees it: its gates, and what is wrong with them."""

import inspect
from collections.abc import Iterator
from typing import Any, get_type_hints

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext
from starlette.responses import StreamingResponse

from app.core.db import get_db, get_db_client, get_read_db
from app.core.http._gate import Gate
from app.core.http._gate_kit import GateKit
from app.core.http._page_route import MENU, MenuEntry, PageRoute
from app.core.http._route import GatedRoute
from app.core.http._security_headers import PAGES, is_page
from app.core.http._worker import CONFIG
from app.core.resilience import function_of


def path_of(context: RouteContext) -> str:
    """The route's whole path template."""
    return context.path_format or context.path or ""


def label_of(context: RouteContext) -> str:
    """The route as findings name it."""
    methods = ",".join(sorted(context.methods or ())) or type(context.original_route).__name__
    endpoint = getattr(context.endpoint, "__qualname__", "")
    return f"{methods} {context.path}" + (f" ({endpoint})" if endpoint else "")


def gates_of(context: RouteContext) -> list[Gate]:
    """The gates in front of it: its own, its router's and those of its includes."""
    if not isinstance(context.original_route, APIRoute):
        return []
    return [depends.dependency for depends in context.dependencies if isinstance(depends.dependency, Gate)]


def menu_of(context: RouteContext) -> MenuEntry | None:
    """How the list of pages names it, if it stands there."""
    found: MenuEntry | None = _find(context.endpoint, MENU)
    return found


def check_declared(context: RouteContext, gates: list[Gate]) -> Iterator[str]:
    """What is wrong with how a gated route is written."""
    if len(gates) > 1:
        names = " and ".join(gate.name for gate in gates)
        yield f"has more than one gate ({names}), on the route, its router or an include; keep one"
    asked = {node.call.name for node in _walk(context.dependant) if isinstance(node.call, Gate)}
    if unheard := asked - {gate.name for gate in gates}:
        yield (
            f"asks for the ticket of another gate ({', '.join(sorted(unheard))}) in a parameter, which does not run here; "
            "ask for its own"
        )
    if not isinstance(context.original_route, GatedRoute):
        yield "is not a GatedRoute; make its router with APIRouter of app.core instead of fastapi's"
    if isinstance(context.original_route, PageRoute) != is_page(path_of(context)):
        yield (
            f"pages stand under {PAGES} and nothing else does; make the routers of pages with PageRouter of app.core.http, "
            "and others without"
        )
    yield from _check_worker(context, gates[0])


def check_effective(context: RouteContext, gate: Gate, kit: GateKit) -> Iterator[str]:
    """What is wrong with a gated route under the config that will be in force."""
    yield from _check_provider(gate, kit)
    yield from _check_slot(gate)
    yield from _check_stream(context, gate)
    if isinstance(context.original_route, PageRoute) and gate.config.cache is not None:
        yield f"is a page, and its gate {gate.name} has cache: its forms carry the token of one session; drop cache"


def _check_worker(context: RouteContext, gate: Gate) -> Iterator[str]:
    config = _find(context.endpoint, CONFIG)
    if config is None:
        yield f"lacks @api_worker(config) under the route's decorator; add it with the config of the gate {gate.name}"
    elif config is not gate.config:
        yield f"@api_worker carries another config than the gate {gate.name}; give both the same object"


def _find(function: Any, name: str) -> Any:
    """An attribute of a function or of whatever it wraps."""
    while function is not None:
        if (value := getattr(function, "__dict__", {}).get(name)) is not None:
            return value
        function = getattr(function, "__wrapped__", None)
    return None


def _check_provider(gate: Gate, kit: GateKit) -> Iterator[str]:
    config, keeping = gate.config, kit.keeping
    if not config.security.anonymous and kit.tokens is None:
        yield f"the gate {gate.name} needs tokens and no feature provides a TokenVerifier; keep builtin/accounts or provide one"
    if config.credits is not None and (keeping.ledger is None or keeping.holds is None):
        yield f"the gate {gate.name} takes credits and no feature provides a CreditLedger; keep builtin/credits or provide one"
    if keeping.plans is None and any(len(quota.limits) > 1 for quota in config.quotas):
        yield f"the gate {gate.name} has a quota by plan and no feature provides a PlanSource; keep builtin/credits or provide one"
    if kit.api_keys is None and any("api_key" in limit.scopes for limit in config.limits):
        yield f"the gate {gate.name} counts by API key and no feature provides ApiKeys; keep builtin/accounts or count by user"
    if config.webhook is not None and config.webhook.source not in keeping.webhooks:
        yield (
            f"the gate {gate.name} takes webhooks of {config.webhook.source} and there is no secret of it; "
            "name it in WEBHOOK_SECRETS"
        )
    if config.encryption and (keeping.sealer is None or keeping.encryptor is None):
        yield f"the gate {gate.name} encrypts or seals and there are no keys; set ENCRYPTION_KEYS"


def _check_slot(gate: Gate) -> Iterator[str]:
    if gate.config.atomic and (outside := gate.config.outside_slot):
        yield (
            f"the gate {gate.name} is atomic and its parts {', '.join(outside)} cannot share the caller's Cluster slot; "
            "count limits and slots per user, cache for the user and without tags, or drop atomic"
        )


def _check_stream(context: RouteContext, gate: Gate) -> Iterator[str]:
    if not _is_stream(context):
        return
    if any(
        node.call in (get_db, get_db_client, get_read_db) and node.scope == "function"
        for node in _walk(context.dependant)
    ):
        yield (
            "streams with a function-scope get_db or get_read_db, which is closed before the first byte; use Depends(get_db), "
            "Depends(get_read_db) or get_db_context()"
        )
    if gate.config.encrypted_fields is not None:
        yield f"streams, and its gate {gate.name} encrypts fields: a stream cannot be; return a whole answer, or drop encryption"
    for kept in ("webhook", "idempotency", "cache"):
        if getattr(gate.config, kept) is not None:
            yield f"streams, and its gate {gate.name} has {kept}: a stream cannot be kept; return a whole answer, or drop {kept}"


def _is_stream(context: RouteContext) -> bool:
    endpoint = function_of(inspect.unwrap(context.endpoint)) if context.endpoint is not None else None
    if inspect.isgeneratorfunction(endpoint) or inspect.isasyncgenfunction(endpoint):
        return True
    declared = getattr(context.response_class, "value", context.response_class)
    kinds = [declared, _returned(endpoint)]
    return any(isinstance(kind, type) and issubclass(kind, StreamingResponse) for kind in kinds)


def _returned(endpoint: Any) -> Any:
    """What a handler is annotated to return; None when that cannot be told (a partial, an object, a name that is not importable)."""
    try:
        return get_type_hints(endpoint).get("return")
    except (TypeError, NameError):
        return None


def _walk(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for child in dependant.dependencies:
        yield from _walk(child)
