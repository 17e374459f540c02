"""The boot audit: at start every route is walked, and one that nobody guards stops the start with its name and the way to mend it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import Mount, Route, WebSocketRoute

from app.core.db import Database
from app.core.errors import ConfigurationError
from app.core.http._audit_route import check_declared, check_effective, gates_of, label_of, menu_of, path_of
from app.core.http._audit_sets import ambiguous_paths, shared_names, unequal_buckets, without_method
from app.core.http._audit_work import WorkAudit
from app.core.http._bound import BoundGate
from app.core.http._gate import Gate
from app.core.http._gate_kit import GateKit
from app.core.http._page_route import MenuEntry
from app.core.http._route import Binding, GatedRoute
from app.core.http._route_index import indexed, unindexed


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
    """One endpoint as it will be served: behind ``gate``, or open for ``reason``; ``menu`` for a page that stands in the list of pages."""

    path: str
    methods: tuple[str, ...]
    gate: BoundGate | None
    reason: str | None = None
    menu: MenuEntry | None = None


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
        contexts = list(iter_route_contexts(unindexed(self.app.routes)))
        gates = {id(gate): gate for context in contexts for gate in gates_of(context)}
        findings = self._make_effective(gates)
        findings += [
            f"{label_of(context)}: {finding}" for context in contexts for finding in self._check(context)
        ]
        findings += self._frontends()
        findings += shared_names(gates.values())
        if self.work is not None:
            findings += self.work.check({gate.name for gate in gates.values()})
        findings += unequal_buckets([*self._effective.values(), *(self.work.gates if self.work else ())])
        findings += ambiguous_paths(contexts)
        findings += without_method(contexts, self._effective)
        if findings:
            raise AuditError(findings)
        bound = self._bound()
        allowed: dict[str, frozenset[str]] = {}
        for context in contexts:
            path = path_of(context)
            allowed[path] = allowed.get(path, frozenset()).union(context.methods or ())
        audited = tuple(self._bind(context, bound, allowed) for context in contexts)
        self.app.router.routes = _Sealed(indexed(self.app))
        return audited

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

    def _bound(self) -> dict[int, BoundGate]:
        """Compile every gate. Raises AuditError for those that cannot work together, such as one dependency with two breakers."""
        bound, findings = {}, []
        for key, gate in self._effective.items():
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
        gate = next((bound[id(gate)] for gate in gates_of(context)), None)
        route, path = context.original_route, path_of(context)
        if isinstance(route, GatedRoute):
            route.bind(Binding(path, gate, self.database, allowed[path]))
            # Its work is done before FastAPI solves anything; solving it would cost 22 us a request (measured) for a value that
            # nobody takes. A handler that asks for the ticket names the dependency as a parameter, and keeps it.
            solved = context.dependant.dependencies
            solved[:] = [node for node in solved if not (isinstance(node.call, Gate) and node.name is None)]
        return AuditedRoute(
            path,
            tuple(sorted(context.methods or ())),
            gate,
            None if gate else self._reason(context.path or ""),
            menu_of(context),
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
        gates, open_for = gates_of(context), self._reason(context.path or "")
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
        yield from check_declared(context, gates)
        yield from check_effective(context, self._effective[id(gates[0])], self.kit)


class _Sealed(list[Any]):
    """The application's routes after the audit: one that came later would be served without anybody having looked at it, and one that
    was taken away would be found by the index all the same.
    """

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise ConfigurationError(
            "The application has started; add routes before, so that the boot audit sees them, and remove none"
        )

    append = extend = insert = __setitem__ = __iadd__ = __imul__ = _refuse
    remove = pop = clear = sort = reverse = __delitem__ = _refuse
