from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from app.builtin.credits.service import Ledger, Upkeep
from app.core.db import Database
from app.core.observability import CreditEvent, EventHub
from app.core.policies import HoldBook
from app.core.resilience import ManualClock
from app.core.valkey import ValkeyClient
from tests.builtin.credits.books import Books, Events


@pytest.fixture
def account() -> str:
    return str(uuid4())


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def ledger(database: Database, clean_database: None, events: Events) -> AsyncIterator[Ledger]:
    hub = EventHub()
    hub.subscribe(CreditEvent, events.take)
    ledger = Ledger(database, hub, ManualClock(), window_s=0.001, pause_s=0.001)
    yield ledger
    await ledger.aclose()


@pytest.fixture
def books(
    database: Database, store: ValkeyClient, clean_store: None, ledger: Ledger, events: Events
) -> Books:
    """Ledger and store together."""
    hub = EventHub()
    hub.subscribe(CreditEvent, events.take)
    book = HoldBook(store)
    return Books(database, store, ledger, book, Upkeep(database, ledger, book, hub))
