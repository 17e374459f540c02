"""HTTP: the edge, the gate, and what handlers ask for. The only room below the routers that knows FastAPI."""

from app.core.http._assets import Asset, Script, find_asset
from app.core.http._audit import AuditedRoute, AuditError, BootAudit
from app.core.http._audit_work import WorkAudit
from app.core.http._background import Background
from app.core.http._block import Block
from app.core.http._bound import BoundGate
from app.core.http._changed import Changes, invalidate_tags
from app.core.http._claims import Claims
from app.core.http._client_address import AddressResolver, client_network
from app.core.http._credits_block import CreditsBlock, require_credits
from app.core.http._current import current_platform
from app.core.http._dependencies import (
    CurrentIdempotencyKey,
    CurrentPlatform,
    CurrentPrincipal,
    platform_of,
    provided,
    require_mfa,
    require_recent_sign_in,
    require_scope,
    roles_required,
)
from app.core.http._edge import EdgeMiddleware
from app.core.http._front import FrontMiddleware
from app.core.http._gate import Gate, Ticket, current_ticket, enforce_all_policies
from app.core.http._gate_kit import GateKit, Keeping, TokenVerifier
from app.core.http._lifecycle import Lifecycle
from app.core.http._limit_blocks import (
    LimitBlock,
    debounce,
    fixed_window,
    sliding_window,
    throttle,
    token_bucket,
    token_bucket_limiter,
)
from app.core.http._metrics_endpoint import metrics_router
from app.core.http._openapi import describe_gates
from app.core.http._overrides import override_reads_too
from app.core.http._package_limiter import RateLimiter
from app.core.http._page_cookies import LOGIN_FORM, SESSION, PageCookies, csrf_token_of
from app.core.http._page_next import next_page
from app.core.http._page_route import ForgedForm, MenuEntry, PageRoute, PageRouter, in_menu
from app.core.http._page_session import PageGate, PageVerifier
from app.core.http._pages import Pages
from app.core.http._platform import Platform
from app.core.http._problem import Problem, install_problem_handlers, problem_response, send_problem
from app.core.http._repeated_queries import RepeatedQueriesMiddleware
from app.core.http._route import APIRouter, GatedRoute
from app.core.http._security_headers import SecurityHeaders
from app.core.http._side_server import SideServer
from app.core.http._state import SCOPE_KEY, RequestState
from app.core.http._traffic import TrafficControl
from app.core.http._worker import api_worker

__all__ = [
    "LOGIN_FORM",
    "SCOPE_KEY",
    "SESSION",
    "APIRouter",
    "AddressResolver",
    "Asset",
    "AuditError",
    "AuditedRoute",
    "Background",
    "Block",
    "BootAudit",
    "BoundGate",
    "Changes",
    "Claims",
    "CreditsBlock",
    "CurrentIdempotencyKey",
    "CurrentPlatform",
    "CurrentPrincipal",
    "EdgeMiddleware",
    "ForgedForm",
    "FrontMiddleware",
    "Gate",
    "GateKit",
    "GatedRoute",
    "Keeping",
    "Lifecycle",
    "LimitBlock",
    "MenuEntry",
    "PageCookies",
    "PageGate",
    "PageRoute",
    "PageRouter",
    "PageVerifier",
    "Pages",
    "Platform",
    "Problem",
    "RateLimiter",
    "RepeatedQueriesMiddleware",
    "RequestState",
    "Script",
    "SecurityHeaders",
    "SideServer",
    "Ticket",
    "TokenVerifier",
    "TrafficControl",
    "WorkAudit",
    "api_worker",
    "client_network",
    "csrf_token_of",
    "current_platform",
    "current_ticket",
    "debounce",
    "describe_gates",
    "enforce_all_policies",
    "find_asset",
    "fixed_window",
    "in_menu",
    "install_problem_handlers",
    "invalidate_tags",
    "metrics_router",
    "next_page",
    "override_reads_too",
    "platform_of",
    "problem_response",
    "provided",
    "require_credits",
    "require_mfa",
    "require_recent_sign_in",
    "require_scope",
    "roles_required",
    "send_problem",
    "sliding_window",
    "throttle",
    "token_bucket",
    "token_bucket_limiter",
]
