"""What the gates of one application work with."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from opentelemetry.trace import Tracer

from app.core.context import Principal
from app.core.http._background import Background
from app.core.http._changed import Changes
from app.core.http._page_session import PageGate
from app.core.http._traffic import TrafficControl
from app.core.observability import EventHub
from app.core.policies import (
    Admitter,
    CreditLedger,
    HoldBook,
    Overrides,
    PlanSource,
    RateLimit,
    Renewals,
    Switches,
)
from app.core.resilience import Breakers, Clock, Deadlines
from app.core.security import ApiKeys, DataEncryptor, Sealer, WebhookKeys
from app.core.valkey import Cache


class TokenVerifier(Protocol):
    """Turns a bearer token into its principal; raises NotAuthenticated for any token that is not good, and KeysNotLoaded for one whose
    issuer's keys must be had first: its ``load`` is awaited, and ``verify`` called once more.
    """

    def verify(self, token: str) -> Principal:
        """Local and quick: no I/O."""


class Keeping(NamedTuple):
    """What the features of one application bring for policies that keep something; each part may be absent."""

    ledger: CreditLedger | None = None
    holds: HoldBook | None = None
    plans: PlanSource | None = None
    cache: Cache | None = None
    sealer: Sealer | None = None
    renewals: Renewals | None = None
    encryptor: DataEncryptor | None = None
    webhooks: Mapping[str, WebhookKeys] = MappingProxyType({})


class GateKit(NamedTuple):
    """What every gate of one application works with; put together by the door."""

    tokens: TokenVerifier | None
    admitter: Admitter
    hub: EventHub
    clock: Clock
    failed_auth: RateLimit
    deadlines: Deadlines
    traffic: TrafficControl
    breakers: Breakers
    background: Background
    keeping: Keeping
    changes: Changes | None = None
    tracer: Tracer | None = None
    overrides: Overrides | None = None
    switches: Switches | None = None
    api_keys: ApiKeys | None = None
    pages: PageGate | None = None
