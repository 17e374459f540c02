"""One line a feature. Doors loop over it; nothing else knows which features there are."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.builtin.accounts.models import User
from app.builtin.accounts.router import router as accounts
from app.builtin.accounts.service import provide_accounts
from app.builtin.health.router import OPEN_ROUTES
from app.builtin.health.router import router as health
from app.builtin.health.service import provide_health
from app.core.db import Base
from app.core.http import APIRouter, Platform
from app.features.records.models import Record
from app.features.records.router import router as records

Ping = Callable[[], Awaitable[None]]
Provide = Callable[[Platform, Any], Mapping[type[Any], Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """What a feature brings along; every part may be absent.

    provides: from the platform and the service's settings, makes what other rooms ask for by type; it may add pings and stop hooks to
        the platform. pings: checks that ``/ready`` runs, by name.
    open_routes: path templates that need no gate, each with its reason. models: tables, which migrations compare.
    """

    name: str
    router: APIRouter | None = None
    models: tuple[type[Base], ...] = ()
    provides: Provide | None = None
    pings: Mapping[str, Ping] = field(default_factory=dict)
    open_routes: Mapping[str, str] = field(default_factory=dict)


FEATURES: tuple[Feature, ...] = (
    Feature(name="health", router=health, provides=provide_health, open_routes=OPEN_ROUTES),
    Feature(name="accounts", router=accounts, provides=provide_accounts, models=(User,)),
    Feature(name="records", router=records, models=(Record,)),
)
