"""OpenAPI that tells the truth about the gate: scopes, limits, and every answer that a policy can produce."""

from collections.abc import Callable, Iterable
from typing import Any

from fastapi import FastAPI

from app.core.http._audit import AuditedRoute
from app.core.http._bound import BoundGate
from app.core.http._problem import Problem, title_of
from app.core.policies import JobConfig, RateLimit

_SCHEME = "token"
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_HEADERS = {
    "RateLimit": "Each limit with what remains (r) and the seconds until it resets (t)",
    "RateLimit-Policy": "Each limit with its quota (q) per window of seconds (w)",
    "Retry-After": "Seconds to wait before trying again",
    "WWW-Authenticate": "What credentials are needed (RFC 6750)",
    "X-Request-ID": "Names this request in the logs",
}
_ON_ANSWER = ("RateLimit", "RateLimit-Policy", "X-Request-ID")


def describe_gates(app: FastAPI, routes: Callable[[], Iterable[AuditedRoute]], token_url: str | None) -> None:
    """Make ``app.openapi()`` include what the audited gates do. ``token_url`` is where a password is exchanged for a token."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        document = plain()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
        components["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()
        }
        if token_url is not None:
            components["securitySchemes"] = {_SCHEME: _scheme(token_url, routes())}
        for route in routes():
            for method in route.methods:
                operation = document["paths"].get(route.path, {}).get(method.lower())
                if operation is not None:
                    _describe(operation, route.gate)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _scheme(token_url: str, routes: Iterable[AuditedRoute]) -> dict[str, Any]:
    scopes = {scope for route in routes if route.gate for scope in route.gate.config.security.scopes}
    return {
        "type": "oauth2",
        "flows": {"password": {"tokenUrl": token_url, "scopes": dict.fromkeys(sorted(scopes), "")}},
    }


def _describe(operation: dict[str, Any], gate: BoundGate | None) -> None:
    responses = operation.setdefault("responses", {})
    for status in _statuses(gate, has_body="requestBody" in operation, has_validation="422" in responses):
        answer = responses.setdefault(str(status), {"description": title_of(status)})
        answer["content"] = _PROBLEM
        answer["headers"] = _refs(_headers_of(status))
    for status, answer in responses.items():
        if status.startswith("2"):
            answer["headers"] = {
                **answer.get("headers", {}),
                **_refs(_ON_ANSWER if gate and gate.config.limits else ("X-Request-ID",)),
            }
        elif status.startswith(("4", "5")):  # those that a route declares in ``responses`` are problems too
            answer.setdefault("content", _PROBLEM)
            answer.setdefault("headers", _refs(_headers_of(int(status))))
    if gate is None:
        operation["security"] = []
        return
    security = gate.config.security
    operation["security"] = [{}, {_SCHEME: []}] if security.anonymous else [{_SCHEME: list(security.scopes)}]
    operation["x-policy"] = {"name": gate.name, **describe(gate.config)}


def _statuses(gate: BoundGate | None, *, has_body: bool, has_validation: bool) -> Iterable[int]:
    if has_validation:
        yield 422
    if has_body:
        yield from (400, 408, 413)
    if gate is None:
        yield 503
        return
    security = gate.config.security
    yield from (400, 401, 429, 503)
    if security.scopes or security.roles:
        yield 403
    if gate.config.timeout is not None:
        yield 504


def _headers_of(status: int) -> Iterable[str]:
    yield "X-Request-ID"
    if status in (429, 503):
        yield "Retry-After"
    if status in (401, 403):
        yield "WWW-Authenticate"
    if status == 429:
        yield from ("RateLimit", "RateLimit-Policy")


def _refs(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def describe(config: JobConfig) -> dict[str, Any]:
    """A policy as plain data, for OpenAPI's ``x-policy`` and for people."""
    security = config.security
    return {
        "security": {
            "anonymous": security.anonymous,
            "scopes": list(security.scopes),
            "roles": list(security.roles),
        },
        "rate_limit": [_describe_limit(limit) for limit in config.limits],
        "timeout_s": config.timeout,
        "max_body_bytes": config.max_body,
    }


def _describe_limit(limit: RateLimit) -> dict[str, Any]:
    return {
        "name": limit.name,
        "algorithm": limit.algorithm,
        "quota": limit.quota,
        "window_s": limit.window,
        "burst": limit.burst,
        "cost": limit.cost if isinstance(limit.cost, int) else "by request",
        "scope": list(limit.scopes),
        "charge": limit.charge,
        "shadow": limit.shadow,
        "on_store_down": limit.on_store_down,
    }
