"""The request in hand, for code that is handed none: decorators around handlers."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from app.core.errors import ConfigurationError

if TYPE_CHECKING:
    from app.core.http._platform import Platform

Scope = Mapping[str, Any]
_scope: ContextVar[Scope | None] = ContextVar("gatehouse_scope", default=None)

current_scope = _scope.get
set_scope = _scope.set
reset_scope = _scope.reset


def current_platform() -> "Platform":
    """What the application that serves this request is made of. Raises ConfigurationError outside a request."""
    scope = _scope.get()
    if scope is None:
        raise ConfigurationError("There is no request in hand")
    platform: Platform = scope["app"].state.gatehouse
    return platform
