"""The policy of every route, as it is in force with this environment's overrides; compared with an earlier one."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, StringConstraints

from app.builtin.policies.service import describe_routes
from app.core.errors import ConfigurationError
from app.core.http import Platform
from app.core.policies import differences
from app.settings import Settings

Route = dict[str, Any]
Word = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Change(NamedTuple):
    """One thing that differs from the earlier policies. ``option`` is None for a route that came or went."""

    route: str
    option: str | None
    before: Any
    after: Any


async def policies(settings: Settings) -> list[Route]:
    """Every route with its policy in force. Puts the application together and audits it; needs no server and asks none.

    Raises ConfigurationError for an application that would not start, with every override that does not fit.
    """
    platform: Platform = import_module("app.main").audited(
        settings
    )  # a door: known by its name only, as in `serve`
    routes = describe_routes(platform.routes, platform.overrides)
    return [route.model_dump(exclude={"switch"}) for route in routes]


class _Printed(BaseModel):
    """What is compared of a printed route."""

    methods: list[Word]
    path: Word
    name: Word | None = None
    kind: Word | None = None
    reason: str | None = None
    config: dict[str, Any] | None = None


class _File(BaseModel):
    routes: list[_Printed]


def read(file: Path) -> list[Route]:
    """Policies that ``--json`` printed earlier. Raises ConfigurationError for any other file."""
    try:
        printed = _File.model_validate_json(file.read_bytes(), strict=True)
    except (OSError, ValueError):
        raise ConfigurationError(f"{file} is not what `policies --json` prints") from None
    return [route.model_dump() for route in printed.routes]


def compare(before: list[Route], after: list[Route]) -> list[Change]:
    """What changed: routes that came and went, and every option that differs."""
    old, new = ({_label(route): route for route in routes} for routes in (before, after))
    changes = []
    for label in sorted({*old, *new}):
        if label not in old or label not in new:
            changes.append(Change(label, None, _name(old.get(label)), _name(new.get(label))))
            continue
        found = differences(_compared(old[label]), _compared(new[label]))
        changes += [Change(label, *difference) for difference in found]
    return changes


def _label(route: Mapping[str, Any]) -> str:
    return f"{','.join(route['methods'])} {route['path']}"


def _name(route: Mapping[str, Any] | None) -> Any:
    return None if route is None else route.get("name") or route.get("kind")


def _compared(route: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": route.get("name"),
        "kind": route.get("kind"),
        "reason": route.get("reason"),
        **(route.get("config") or {}),
    }


def summary(route: Route) -> tuple[str, str, str, str]:
    """A route in four short texts: its policy, what it is called with, who may, and what else applies."""
    config = route["config"]
    if config is None:
        return str(route["kind"]), _label(route), "", str(route["reason"])
    security = config["security"]
    who = (
        "anybody"
        if security["anonymous"]
        else " ".join((*security["scopes"], *security["roles"], *_proof(security))) or "a valid token"
    )
    return str(route["name"]), _label(route), who, ", ".join(_parts(config, route["overridden"]))


def _proof(security: Mapping[str, Any]) -> list[str]:
    parts = ["mfa"] if security["mfa"] else []
    return parts if security["max_age"] is None else [*parts, f"signed in {security['max_age']}s ago at most"]


def _parts(config: Mapping[str, Any], overridden: list[Any]) -> list[str]:
    parts = [f"{limit['name']} {limit['quota']}/{limit['window']:g}s" for limit in config["rate_limit"]]
    parts += [f"{quota['name']} quota" for quota in config["quota"]]
    parts += [f"{slot['max']} at once per {slot['scope']}" for slot in config["concurrency"]]
    parts += [f"breaker {breaker['dependency']}" for breaker in config["circuit_breaker"]]
    parts += [field for field in ("idempotency", "cache", "bulkhead", "retry", "shadow") if config[field]]
    if config["credits"]:
        parts.append(f"credits {config['credits']['cost']}")
    if config["timeout"] is not None:
        parts.append(f"{config['timeout']:g}s")
    if overridden:
        parts.append(f"{len(overridden)} overridden")
    return parts
