"""One line a feature. Doors loop over it; nothing else knows which features there are."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.core.db import Base
from app.core.http import APIRouter, Platform

Provide = Callable[[Platform, Any], Mapping[type[Any], Any]]
Ping = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """What a feature brings along; every part may be absent.

    provides: from the platform and the service's settings, makes what other rooms ask for by type.
    pings: checks that ``/ready`` runs, by name. open_routes: path templates that need no gate, each with its reason.
    models: tables, so that migrations and checks see them.
    """

    name: str
    router: APIRouter | None = None
    models: tuple[type[Base], ...] = ()
    provides: Provide | None = None
    pings: Mapping[str, Ping] = field(default_factory=dict)
    open_routes: Mapping[str, str] = field(default_factory=dict)


FEATURES: tuple[Feature, ...] = ()
