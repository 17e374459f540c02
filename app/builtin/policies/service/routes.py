"""What is in force on every route."""

from collections.abc import Iterable

from app.builtin.policies.schemas import OverrideOut, RoutePolicy, SwitchOut
from app.core.http import AuditedRoute, Platform
from app.core.policies import Overrides, Switch, Switches, describe

BY_HAND = "guarded by hand"


def describe_routes(routes: Iterable[AuditedRoute], overrides: Overrides) -> list[RoutePolicy]:
    """Every audited route with its policy in force, by path and method."""
    return sorted((_described(route, overrides) for route in routes), key=lambda it: (it.path, it.methods))


def _described(route: AuditedRoute, overrides: Overrides) -> RoutePolicy:
    gate = route.gate
    if gate is None:
        kind = "custom" if BY_HAND in (route.reason or "") else "open"
        return RoutePolicy(
            path=route.path, methods=list(route.methods), kind=kind, name=None, reason=route.reason, config=None, overridden=[]
        )  # fmt: skip
    changes = [
        OverrideOut(
            option=change.path, default=change.default, effective=change.effective, source=change.source
        )
        for change in overrides.applied(gate.name)
    ]
    return RoutePolicy(
        path=route.path, methods=list(route.methods), kind="gated", name=gate.name, reason=None,
        config=describe(gate.config), overridden=changes,
    )  # fmt: skip


def routes_as_they_are(platform: Platform, switches: Switches) -> list[RoutePolicy]:
    """Every audited route with its policy in force, and who switched it off."""
    routes = describe_routes(platform.routes, platform.overrides)
    for route in routes:
        route.switch = switch_shown(switches.of(route.name)) if route.name is not None else None
    return routes


def switch_shown(switch: Switch | None) -> SwitchOut | None:
    """For an answer."""
    if switch is None:
        return None
    return SwitchOut(state=switch.state, reason=switch.reason, by=switch.by, at=switch.at)
