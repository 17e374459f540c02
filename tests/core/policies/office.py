"""An engine on real servers, for tests of work that is no request."""

from collections.abc import Awaitable, Callable
from typing import Any

from app.builtin.credits.service import Ledger, Plans
from app.core.context import Principal
from app.core.db import Database
from app.core.observability import Event, EventHub, PolicyEvent, WorkEvent
from app.core.policies import CREDIT, Admitter, Credits, Engine, EngineParts, HoldBook, JobConfig, Renewals
from app.core.resilience import Breakers, SystemClock
from app.core.valkey import ValkeyClient
from tests.credited import balance_of

ANN = Principal("ann", scopes=frozenset({"run:cpu_job"}), roles=frozenset({"cpu_user"}))
BOB = Principal("bob")
FREE = JobConfig(rate_limit=None)
PAID = JobConfig(rate_limit=None, credits=Credits(cost=2))


async def nothing() -> str:
    return "done"


async def fail() -> None:
    raise ZeroDivisionError


class Office:
    """An engine on real servers, what it reported, and what its callers have. ``renewing``: options of its ``Renewals``."""

    def __init__(
        self, store: ValkeyClient, database: Database, *, parts: dict[str, Any] | None = None, **renewing: Any
    ) -> None:
        self.events: list[Any] = []
        self.database = database
        hub, clock = EventHub(), SystemClock()
        for kind in (PolicyEvent, WorkEvent):
            hub.subscribe(kind, self._listen)
        self.admitter = Admitter(store, clock=clock)
        self.book = HoldBook(store)
        self.ledger = Ledger(database, hub, clock)
        made = EngineParts(
            self.admitter, hub, clock, Breakers(hub=hub), database, self.ledger, self.book, Plans(database, clock),
            renewals=Renewals(self.admitter, **renewing),
        )  # fmt: skip
        self.engine = Engine(made._replace(**(parts or {})))

    def _listen(self, event: Event) -> None:
        self.events.append(event)

    async def run(
        self, config: JobConfig, work: Callable[[], Awaitable[Any]] = nothing, **options: Any
    ) -> Any:
        options.setdefault("principal", ANN)
        return await self.engine.run(options.pop("name", "work"), config, work, **options)

    async def left(self, principal: Principal = ANN) -> tuple[float, int]:
        await self.admitter.close()
        await self.book.close()  # also for holds that a batch frees: nobody else waits for them
        return await balance_of(self.database, principal.id) / CREDIT, await self.book.held(principal.id)

    @property
    def verdicts(self) -> list[str]:
        return [event.verdict for event in self.events if isinstance(event, PolicyEvent)]

    @property
    def outcomes(self) -> list[str]:
        return [event.outcome for event in self.events if isinstance(event, WorkEvent)]
