"""The boot audit: at start every route is walked, and one that nobody guards stops the start with its name and the way to mend it."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, get_type_hints

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.responses import StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute

from app.core.db import Database, get_db
from app.core.errors import ConfigurationError
from app.core.http._audit_work import WorkAudit
from app.core.http._bound import BoundGate, GateKit
from app.core.http._gate import Gate
from app.core.http._route import Binding, GatedRoute
from app.core.http._worker import CONFIG
from app.core.policies import Plan


class AuditError(ConfigurationError):
    """The application may not start. ``findings`` names each route with what is wrong and how to mend it."""

    def __init__(self, findings: Iterable[str]) -> None:
        self.findings = tuple(findings)
        super().__init__(
            "The boot audit refuses this application:\n"
            + "\n".join(f"  - {finding}" for finding in self.findings)
        )


@dataclass(frozen=True, slots=True)
class AuditedRoute:
    """One endpoint as it will be served: behind ``gate``, or open for ``reason``."""

    path: str
    methods: tuple[str, ...]
    gate: BoundGate | None
    reason: str | None = None


@dataclass
class BootAudit:
    """Walks an application's routes and binds their gates.

    open_routes: path templates (a mount or a prefix ends with ``/*``) that need no gate, each with its reason. work: policies that guard
        no route; overrides may name them too.
    """

    app: FastAPI
    kit: GateKit
    database: Database
    open_routes: Mapping[str, str] = field(default_factory=dict)
    work: WorkAudit | None = None
    _effective: dict[int, Gate] = field(default_factory=dict, init=False)

    def run(self) -> tuple[AuditedRoute, ...]:
        """Check every route, then bind all. Raises AuditError with every finding, and binds none."""
        contexts = list(iter_route_contexts(self.app.routes))
        gates = {id(gate): gate for context in contexts for gate in _gates_of(context)}
        findings = self._make_effective(gates)
        findings += [
            f"{_label(context)}: {finding}" for context in contexts for finding in self._check(context)
        ]
        findings += self._frontends()
        findings += _shared_names(gates.values())
        if self.work is not None:
            findings += self.work.check({gate.name for gate in gates.values()})
        findings += _unequal_buckets([*self._effective.values(), *(self.work.gates if self.work else ())])
        findings += _ambiguous_paths(contexts)
        findings += _without_method(contexts, self._effective)
        if findings:
            raise AuditError(findings)
        bound = self._bound(gates)
        allowed: dict[str, frozenset[str]] = {}
        for context in contexts:
            path = _path(context)
            allowed[path] = allowed.get(path, frozenset()).union(context.methods or ())
        self.app.router.routes = _Sealed(self.app.router.routes)
        return tuple(self._bind(context, bound, allowed) for context in contexts)

    def _make_effective(self, gates: Mapping[int, Gate]) -> list[str]:
        """Each gate with the config that will be in force; what is wrong with its overrides."""
        overrides, findings = self.kit.overrides, []
        for key, gate in gates.items():
            self._effective[key] = gate
            try:
                if overrides is not None:
                    self._effective[key] = Gate(gate.name, overrides.apply(gate.name, gate.config))
            except ConfigurationError as error:
                findings.append(str(error))
        if overrides is not None:
            work = self.work.work if self.work is not None else ()
            findings += overrides.unused([*(gate.name for gate in gates.values()), *work])
        return findings

    def _bound(self, gates: Mapping[int, Gate]) -> dict[int, BoundGate]:
        """Compile every gate. Raises AuditError for those that cannot work together, such as one dependency with two breakers."""
        bound, findings = {}, []
        for key, gate in gates.items():
            try:
                bound[key] = BoundGate(gate, self.kit)
            except ConfigurationError as error:
                findings.append(f"the gate {gate.name}: {error}")
        if findings:
            raise AuditError(findings)
        return bound

    def _bind(
        self, context: RouteContext, bound: Mapping[int, BoundGate], allowed: Mapping[str, frozenset[str]]
    ) -> AuditedRoute:
        gate = next((bound[id(gate)] for gate in _gates_of(context)), None)
        route, path = context.original_route, _path(context)
        if isinstance(route, GatedRoute):
            route.bind(path, Binding(gate, self.database, allowed[path]))
            # Its work is done before FastAPI solves anything; solving it would cost 22 us a request (measured) for a value that
            # nobody takes. A handler that asks for the ticket names the dependency as a parameter, and keeps it.
            solved = context.dependant.dependencies
            solved[:] = [node for node in solved if not (isinstance(node.call, Gate) and node.name is None)]
        return AuditedRoute(
            path,
            tuple(sorted(context.methods or ())),
            gate,
            None if gate else self._reason(context.path or ""),
        )

    def _reason(self, path: str) -> str | None:
        if (reason := self.open_routes.get(path)) is not None:
            return reason
        prefixes = (prefix for prefix in self.open_routes if prefix.endswith("/*"))
        return next(
            (self.open_routes[p] for p in prefixes if path == p[:-2] or path.startswith(p[:-1])), None
        )

    def _frontends(self) -> Iterator[str]:
        """Folders that ``frontend()`` serves: they stand in no list of routes, and FastAPI has no public way to them."""
        groups: Iterator[Any] = self.app.router._iter_low_priority_routes()  # noqa: SLF001 - a release without it must not start
        for found in groups:
            prefix = getattr(found, "frontend_prefix", "")
            for route in getattr(found, "original_route", found).routes:
                path = f"{prefix}{route.path}" if route.path != "/" or not prefix else prefix
                if self._reason(path) is None:
                    yield (
                        f"frontend {path}: its files are not gated; put {path} on the open list with the reason, "
                        "or serve them from a gated route"
                    )

    def _check(self, context: RouteContext) -> Iterator[str]:
        gates, open_for = _gates_of(context), self._reason(context.path or "")
        if isinstance(context.original_route, WebSocketRoute | Mount) or not isinstance(
            context.original_route, Route
        ):
            if open_for is None:
                yield "a WebSocket or a mount is not gated; put it on the open list with the reason, and guard it by hand"
            return
        if not gates:
            if open_for is None:
                yield "no gate; add dependencies=[enforce_all_policies(name, config)], or put it on the open list with the reason"
            return
        if open_for is not None:
            yield "has a gate and stands on the open list; take it off the list"
        if len(gates) > 1:
            names = " and ".join(gate.name for gate in gates)
            yield f"has more than one gate ({names}), on the route, its router or an include; keep one"
        if unheard := {node.call.name for node in _walk(context.dependant) if isinstance(node.call, Gate)} - {
            gate.name for gate in gates
        }:
            yield (
                f"asks for the ticket of another gate ({', '.join(sorted(unheard))}) in a parameter, which does not run here; "
                "ask for its own"
            )
        if not isinstance(context.original_route, GatedRoute):
            yield "is not a GatedRoute; make its router with APIRouter of app.core instead of fastapi's"
        yield from _check_worker(context, gates[0])
        for check in _CHECKS:
            yield from check(context, self._effective[id(gates[0])], self.kit)


class _Sealed(list[Any]):
    """The application's routes after the audit: one that came later would be served without anybody having looked at it."""

    def _refuse(self, *_: object) -> NoReturn:
        raise ConfigurationError(
            "The application has started; add routes before, so that the boot audit sees them"
        )

    append = extend = insert = __setitem__ = __iadd__ = _refuse


def _path(context: RouteContext) -> str:
    return context.path_format or context.path or ""


def _label(context: RouteContext) -> str:
    methods = ",".join(sorted(context.methods or ())) or type(context.original_route).__name__
    endpoint = getattr(context.endpoint, "__qualname__", "")
    return f"{methods} {context.path}" + (f" ({endpoint})" if endpoint else "")


def _gates_of(context: RouteContext) -> list[Gate]:
    if not isinstance(context.original_route, APIRoute):
        return []
    return [depends.dependency for depends in context.dependencies if isinstance(depends.dependency, Gate)]


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


def _check_provider(_: RouteContext, gate: Gate, kit: GateKit) -> Iterator[str]:
    config, keeping = gate.config, kit.keeping
    if not config.security.anonymous and kit.tokens is None:
        yield f"the gate {gate.name} needs tokens and no feature provides a TokenVerifier; keep builtin/accounts or provide one"
    if config.credits is not None and (keeping.ledger is None or keeping.holds is None):
        yield f"the gate {gate.name} takes credits and no feature provides a CreditLedger; keep builtin/credits or provide one"
    if keeping.plans is None and any(len(quota.limits) > 1 for quota in config.quotas):
        yield f"the gate {gate.name} has a quota by plan and no feature provides a PlanSource; keep builtin/credits or provide one"
    if config.encryption and keeping.sealer is None:
        yield f"the gate {gate.name} seals what it keeps and there are no keys; set ENCRYPTION_KEYS"


def _check_slot(_: RouteContext, gate: Gate, __: GateKit) -> Iterator[str]:
    if gate.config.atomic and (outside := gate.config.outside_slot):
        yield (
            f"the gate {gate.name} is atomic and its parts {', '.join(outside)} cannot share the caller's Cluster slot; "
            "count limits and slots per user, cache for the user and without tags, or drop atomic"
        )


def _check_stream(context: RouteContext, gate: Gate, __: GateKit) -> Iterator[str]:
    if not _is_stream(context):
        return
    if any(node.call is get_db and node.scope == "function" for node in _walk(context.dependant)):
        yield "streams with a function-scope get_db, which is closed before the first byte; use Depends(get_db) or get_db_context()"
    for kept in ("idempotency", "cache"):
        if getattr(gate.config, kept) is not None:
            yield f"streams, and its gate {gate.name} has {kept}: a stream cannot be kept; return a whole answer, or drop {kept}"


_CHECKS: tuple[Callable[[RouteContext, Gate, GateKit], Iterator[str]], ...] = (
    _check_provider, _check_slot, _check_stream,
)  # fmt: skip


def _is_stream(context: RouteContext) -> bool:
    endpoint = inspect.unwrap(context.endpoint) if context.endpoint is not None else None
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


def _without_method(contexts: Iterable[RouteContext], effective: Mapping[int, Gate]) -> Iterator[str]:
    """Gates whose cache or idempotency applies to none of their routes' methods."""
    methods: dict[int, set[str]] = {}
    for context in contexts:
        for gate in _gates_of(context):
            methods.setdefault(id(gate), set()).update(context.methods or ())
    for key, taken in methods.items():
        gate = effective[key]
        policy = gate.config.idempotency
        if gate.config.cache is not None and not taken & {"GET", "HEAD"}:
            yield f"the gate {gate.name} has a cache, which is for GET and HEAD, and its routes take neither; drop it"
        if policy is not None and not taken & set(policy.methods):
            named = ", ".join(policy.methods)
            yield f"the gate {gate.name} has idempotency for {named} and its routes take none of them; name their methods or drop it"


def _shared_names(gates: Iterable[Gate]) -> Iterator[str]:
    seen: dict[str, Gate] = {}
    for gate in gates:
        if seen.setdefault(gate.name, gate) is not gate:
            yield f"the name {gate.name} belongs to two gates; make one gate and use it for both routes, or give each its own name"


def _ambiguous_paths(contexts: Iterable[RouteContext]) -> Iterator[str]:
    seen: dict[tuple[int, str], Gate | None] = {}
    for context in contexts:
        gate = next(iter(_gates_of(context)), None)
        if seen.setdefault((id(context.original_route), _path(context)), gate) is not gate:
            yield f"{_label(context)}: is included twice under one path with two gates; give each include a prefix of its own"


def _unequal_buckets(gates: Iterable[Gate]) -> Iterator[str]:
    seen: dict[str, tuple[str, tuple[object, ...]]] = {}
    for gate in gates:
        for bucket, parameters in _shared_buckets(gate):
            name, first = seen.setdefault(bucket, (gate.name, parameters))
            if first != parameters:
                yield f"the gates {name} and {gate.name} share the limit {bucket[1:]} with different parameters; make them equal"


def _shared_buckets(gate: Gate) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Everything that several gates may count together, with the numbers that must then be equal."""
    for bucket, limit in Plan(gate.name, gate.config.limits).buckets():
        yield bucket, (limit.algorithm, limit.quota, limit.window, limit.burst, limit.scopes)
    for quota in gate.config.quotas:
        if quota.shared is not None:
            yield f"q{quota.shared} ({quota.per})", (sorted(quota.limits.items()),)
    for slot in gate.config.slots:
        if slot.scope == "global":
            yield f"s{slot.name}", (slot.max, slot.lease)
