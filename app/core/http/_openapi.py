"""OpenAPI that tells the truth about the gate: scopes, limits, and every answer that a policy can produce."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from fastapi import FastAPI

from app.core.http._audit import AuditedRoute
from app.core.http._bound import BoundGate
from app.core.http._problem import Problem, title_of
from app.core.policies import Idempotency, JobConfig, ResponseCache, Security, describe

_SCHEME = "token"
_API_KEY = "api_key"
_API_KEY_SCHEME = {
    "type": "apiKey",
    "in": "header",
    "name": "X-API-Key",
    "description": "An API key; it may stand behind `Authorization: Bearer` instead",
}
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_HEADERS = {
    "Age": "Seconds since a kept answer was made (RFC 9111)",
    "Cache-Control": "Who may keep this answer",
    "Cache-Status": "Whether the answer was kept, and what became of it (RFC 9211)",
    "ETag": "Names this version of the answer; send it as If-None-Match",
    "Idempotent-Replayed": "true: this is the answer to an earlier request with the same key",
    "RateLimit": "Each limit with what remains (r) and the seconds until it resets (t)",
    "RateLimit-Policy": "Each limit with its quota (q) per window of seconds (w); a quota per day or month has no window",
    "Retry-After": "Seconds to wait before trying again",
    "Vary": "Request fields that select the answer",
    "WWW-Authenticate": "What credentials are needed (RFC 6750, RFC 9470)",
    "X-Request-ID": "Names this request in the logs",
}
_KEY = (
    "The same key answers the same request again instead of doing it again: 1 to 255 visible ASCII characters, or such a text as a quoted "
    "string of RFC 8941"
)
_LONGEST_KEY = 512  # quoted, with every character escaped
_MATCH = "The ETag of the answer that you have; 304 when it still holds"
_WEBHOOK = {
    "webhook-id": "Names the message; the same when it is sent again",
    "webhook-timestamp": "When it was sent, in seconds since the epoch",
    "webhook-signature": "v1, and HMAC-SHA256 over id, timestamp and body in base64; several with a space between them",
}
_NEVER_REPLAYED = frozenset({304, 400, 402, 408, 413, 422, 429, 503})
_KEPT = frozenset({200, 203, 204, 301, 304, 404, 410})


def describe_gates(
    app: FastAPI,
    routes: Callable[[], Iterable[AuditedRoute]],
    token_url: str | None,
    *,
    api_keys: bool = False,
) -> None:
    """Make ``app.openapi()`` include what the audited gates do. ``token_url`` is where a password is exchanged for a token; ``api_keys``:
    whether there are API keys too.
    """
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
        if api_keys:
            components.setdefault("securitySchemes", {})[_API_KEY] = _API_KEY_SCHEME
        for route in routes():
            for method in route.methods:
                operation = document["paths"].get(route.path, {}).get(method.lower())
                if operation is not None:
                    _describe(operation, method, route.gate, api_keys=api_keys)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _scheme(token_url: str, routes: Iterable[AuditedRoute]) -> dict[str, Any]:
    scopes = {scope for route in routes if route.gate for scope in route.gate.config.security.scopes}
    return {
        "type": "oauth2",
        "flows": {"password": {"tokenUrl": token_url, "scopes": dict.fromkeys(sorted(scopes), "")}},
    }


def _describe(operation: dict[str, Any], method: str, gate: BoundGate | None, *, api_keys: bool) -> None:
    responses = operation.setdefault("responses", {})
    asked = _Operation(method, gate.config if gate else None, "requestBody" in operation, "422" in responses)
    for status in asked.statuses():
        answer = responses.setdefault(str(status), {"description": title_of(status)})
        if status >= 400:
            answer["content"] = _PROBLEM
    for status, answer in responses.items():
        if status.startswith(("4", "5")):  # those that a route declares in ``responses`` are problems too
            answer.setdefault("content", _PROBLEM)
        if status.isdigit():
            answer["headers"] = {**answer.get("headers", {}), **_refs(asked.headers_of(int(status)))}
    if gate is None:
        operation["security"] = []
        return
    if parameters := asked.request_fields():
        operation["parameters"] = [*operation.get("parameters", []), *parameters]
    operation["security"] = list(_ways_in(gate.config.security, api_keys=api_keys))
    operation["x-policy"] = {"name": gate.name, **describe(gate.config)}


def _ways_in(security: Security, *, api_keys: bool) -> Iterator[dict[str, list[str]]]:
    """What a caller may present, each by itself."""
    if security.anonymous:
        yield {}
    yield {_SCHEME: list(security.scopes)}
    if api_keys and security.api_keys:
        yield {_API_KEY: list(security.scopes)}


class _Operation(NamedTuple):
    """One method of one route: what its policy, if it has one, can answer and with which fields."""

    method: str
    config: JobConfig | None
    has_body: bool
    has_validation: bool

    @property
    def idempotency(self) -> Idempotency | None:
        """What applies to this method."""
        found = self.config.repeats if self.config else None
        return found if found is not None and self.method in found.methods else None

    @property
    def cache(self) -> ResponseCache | None:
        """What applies to this method."""
        return self.config.cache if self.config and self.method in {"GET", "HEAD"} else None

    def statuses(self) -> Iterable[int]:
        """Those that the route itself does not know of."""
        if self.has_validation:
            yield 422
        if self.has_body:
            yield from (400, 408, 413)
        yield 503
        config = self.config
        if config is None:
            return
        yield from (400, 401, 429)
        if config.security.scopes or config.security.roles or not config.security.api_keys:
            yield 403
        if config.credits is not None:
            yield 402
        if self.idempotency is not None:
            yield from (409, 422)
        if self.cache is not None:
            yield 304
        if _is_priced(config) or (config.encrypted_fields is not None and config.encrypted_fields.request):
            yield 422
        if config.timeout is not None or (config.retry and config.retry.attempt_timeout):
            yield 504

    def headers_of(self, status: int) -> Iterator[str]:
        """The response fields that an answer of this status may carry."""
        yield "X-Request-ID"
        if status in {429, 503}:
            yield "Retry-After"
        if status in {401, 403}:
            yield "WWW-Authenticate"
            return
        config = self.config
        # Everything that is answered after ADMIT tells how the limits stand.
        if config is not None and not all(
            [*(limit.shadow for limit in config.limits), *(quota.shadow for quota in config.quotas)]
        ):
            yield from ("RateLimit", "RateLimit-Policy")
        if self.idempotency is not None:
            if status == 409:
                yield "Retry-After"
            if status not in _NEVER_REPLAYED and (status < 500 or self.idempotency.saves_errors):
                yield "Idempotent-Replayed"
        if self.cache is not None and status in _KEPT:
            yield from ("Cache-Status", "Age", "ETag", "Cache-Control", "Vary")

    def request_fields(self) -> list[dict[str, Any]]:
        """Parameters of the request that the gate reads."""
        fields = []
        if self.config is not None and self.config.webhook is not None:
            fields += [
                _field(name, text, {"type": "string"}, required=True) for name, text in _WEBHOOK.items()
            ]
        elif self.idempotency is not None:
            schema = {"type": "string", "minLength": 1, "maxLength": _LONGEST_KEY}
            fields.append(_field("Idempotency-Key", _KEY, schema, required=self.idempotency.required))
        if self.cache is not None:
            fields.append(_field("If-None-Match", _MATCH, {"type": "string"}))
        return fields


def _is_priced(config: JobConfig) -> bool:
    """Whether a request's cost is computed, and so can be more than a limit ever holds."""
    priced = (*config.limits, *config.quotas, *((config.credits,) if config.credits else ()))
    return any(callable(part.cost) for part in priced)


def _field(name: str, text: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "description": text, "schema": schema}


def _refs(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
