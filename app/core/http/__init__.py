"""HTTP: the edge, the gate, and what handlers ask for. The only room below the routers that knows FastAPI."""

from app.core.http._audit import AuditedRoute, AuditError, BootAudit
from app.core.http._bound import BoundGate, GateKit, TokenVerifier
from app.core.http._client_address import AddressResolver, client_network
from app.core.http._dependencies import CurrentPrincipal, platform_of, provided, require_scope, roles_required
from app.core.http._edge import EdgeMiddleware
from app.core.http._gate import Gate, Ticket, current_ticket, enforce_all_policies
from app.core.http._metrics_endpoint import metrics_router
from app.core.http._openapi import describe_gates
from app.core.http._package_limiter import RateLimiter
from app.core.http._platform import Platform
from app.core.http._problem import Problem, install_problem_handlers, problem_response, send_problem
from app.core.http._route import APIRouter, GatedRoute
from app.core.http._state import SCOPE_KEY, RequestState
from app.core.http._traffic import TrafficControl
from app.core.http._worker import api_worker

__all__ = [
    "SCOPE_KEY",
    "APIRouter",
    "AddressResolver",
    "AuditError",
    "AuditedRoute",
    "BootAudit",
    "BoundGate",
    "CurrentPrincipal",
    "EdgeMiddleware",
    "Gate",
    "GateKit",
    "GatedRoute",
    "Platform",
    "Problem",
    "RateLimiter",
    "RequestState",
    "Ticket",
    "TokenVerifier",
    "TrafficControl",
    "api_worker",
    "client_network",
    "current_ticket",
    "describe_gates",
    "enforce_all_policies",
    "install_problem_handlers",
    "metrics_router",
    "platform_of",
    "problem_response",
    "provided",
    "require_scope",
    "roles_required",
    "send_problem",
]
