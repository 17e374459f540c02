"""What the boot audit asks about all gates together: names, buckets and paths that they share, methods that they wait for in vain."""

from collections.abc import Iterable, Iterator, Mapping

from fastapi.routing import RouteContext

from app.core.http._audit_route import gates_of, label_of, path_of
from app.core.http._gate import Gate
from app.core.policies import Plan


def shared_names(gates: Iterable[Gate]) -> Iterator[str]:
    """Names that two gates have."""
    seen: dict[str, Gate] = {}
    for gate in gates:
        if seen.setdefault(gate.name, gate) is not gate:
            yield f"the name {gate.name} belongs to two gates; make one gate and use it for both routes, or give each its own name"


def unequal_buckets(gates: Iterable[Gate]) -> Iterator[str]:
    """Buckets that several gates count together, by different numbers."""
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


def ambiguous_paths(contexts: Iterable[RouteContext]) -> Iterator[str]:
    """Routes that are included twice under one path, behind two gates."""
    seen: dict[tuple[int, str], Gate | None] = {}
    for context in contexts:
        gate = next(iter(gates_of(context)), None)
        if seen.setdefault((id(context.original_route), path_of(context)), gate) is not gate:
            yield f"{label_of(context)}: is included twice under one path with two gates; give each include a prefix of its own"


def without_method(contexts: Iterable[RouteContext], effective: Mapping[int, Gate]) -> Iterator[str]:
    """Gates whose cache or idempotency applies to none of their routes' methods."""
    methods: dict[int, set[str]] = {}
    for context in contexts:
        for gate in gates_of(context):
            methods.setdefault(id(gate), set()).update(context.methods or ())
    for key, taken in methods.items():
        gate = effective[key]
        policy = gate.config.repeats
        if gate.config.cache is not None and not taken & {"GET", "HEAD"}:
            yield f"the gate {gate.name} has a cache, which is for GET and HEAD, and its routes take neither; drop it"
        if policy is not None and not taken & set(policy.methods):
            named = ", ".join(policy.methods)
            kind = "idempotency" if gate.config.webhook is None else "webhooks"
            yield f"the gate {gate.name} has {kind} for {named} and its routes take none of them; name their methods or drop it"
