"""What one application is made of; put together by the door, found by requests under ``app.state.gatehouse``."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, cast

from app.core.db import Database
from app.core.errors import ConfigurationError
from app.core.http._audit import AuditedRoute
from app.core.http._background import Background
from app.core.http._credentials import Credentials
from app.core.http._gate_kit import Keeping, TokenVerifier
from app.core.http._page_cookies import PageCookies
from app.core.http._page_session import PageGate, PageVerifier
from app.core.http._traffic import TrafficControl
from app.core.observability import Consumer, EventHub
from app.core.policies import (
    Admitter,
    ClusterMode,
    CreditLedger,
    Engine,
    EngineParts,
    HoldBook,
    JobConfig,
    Overrides,
    PlanSource,
    Renewals,
    Switches,
)
from app.core.resilience import Breakers, Clock, Deadlines
from app.core.security import ApiKeys, DataEncryptor, Sealer, WebhookKeys
from app.core.valkey import Cache, ValkeyClient

T = TypeVar("T")


@dataclass
class Platform:
    """The collaborators of one application.

    ``services`` holds what features provide, by type; ``pings`` the checks of readiness, by name; ``on_requests`` what is told of finished
    requests, in batches; ``on_stop`` what is called at the end
    (and awaited where it is to be) before the connections close; ``routes`` what the boot audit saw; ``overrides`` what operators changed
    of its policies; ``breakers`` are this process's; ``switches`` say what operators switched off, if a feature brings them; ``work`` the
    policies of what features do outside requests, by name; ``deadlines`` those of the loop that it runs in; ``page_cookies`` are the
    cookies of pages, ``webhooks`` the secrets of their senders, by source.
    """

    database: Database
    store: ValkeyClient
    admitter: Admitter
    hub: EventHub
    clock: Clock
    traffic: TrafficControl
    cache: Cache
    holds: HoldBook
    renewals: Renewals
    background: Background = field(default_factory=Background)
    sealer: Sealer | None = None
    encryptor: DataEncryptor | None = None
    services: dict[type[Any], Any] = field(default_factory=dict)
    pings: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    on_requests: list[Consumer] = field(default_factory=list)
    on_stop: list[Callable[[], Awaitable[None] | None]] = field(default_factory=list)
    routes: tuple[AuditedRoute, ...] = ()
    overrides: Overrides = field(default_factory=Overrides)
    breakers: Breakers = field(default_factory=Breakers)
    switches: Switches | None = None
    work: dict[str, JobConfig] = field(default_factory=dict)
    deadlines: Deadlines | None = None
    page_cookies: PageCookies = field(kw_only=True)
    webhooks: Mapping[str, WebhookKeys] = field(default_factory=dict)

    @cached_property
    def cluster_mode(self) -> ClusterMode:
        """Tells the admitter when the store is a Cluster."""
        return ClusterMode(
            self.store, hub=self.hub, tell=self.admitter.use_slots, start=self.background.start
        )

    @cached_property
    def engine(self) -> Engine:
        """The policy engine for building blocks and for work that is no request. Made when it is first asked for: features provide
        parts of it.
        """
        return Engine(
            EngineParts(
                self.admitter,
                self.hub,
                self.clock,
                self.breakers,
                self.database,
                cast("CreditLedger | None", self.services.get(CreditLedger)),
                self.holds,
                cast("PlanSource | None", self.services.get(PlanSource)),
                self.overrides,
                self.switches,
                self.renewals,
                self.deadlines,
            )
        )

    @property
    def tokens(self) -> TokenVerifier | None:
        """Who verifies bearer tokens, if a feature provides it."""
        return cast("TokenVerifier | None", self.services.get(TokenVerifier))

    @property
    def api_keys(self) -> ApiKeys | None:
        """Who verifies API keys, if a feature provides it."""
        return cast("ApiKeys | None", self.services.get(ApiKeys))

    @cached_property
    def credentials(self) -> Credentials:
        """What callers may present. Made when it is first asked for: features provide parts of it."""
        return Credentials(self.tokens, self.api_keys)

    @property
    def pages(self) -> PageGate | None:
        """Who looks at pages, if a feature knows the sessions of people."""
        sessions = cast("PageVerifier | None", self.services.get(PageVerifier))
        return PageGate(self.page_cookies, sessions) if sessions is not None else None

    def keeping(self) -> Keeping:
        """What the gates settle with."""
        ledger = cast("CreditLedger | None", self.services.get(CreditLedger))
        plans = cast("PlanSource | None", self.services.get(PlanSource))
        return Keeping(
            ledger, self.holds, plans, self.cache, self.sealer, self.renewals, self.encryptor, self.webhooks
        )

    def require(self, kind: type[T]) -> T:
        """The service of this type. Raises ConfigurationError when no feature provides it."""
        try:
            return cast("T", self.services[kind])
        except KeyError:
            raise ConfigurationError(
                f"No feature provides {kind.__name__}; put one that does into the registry"
            ) from None
