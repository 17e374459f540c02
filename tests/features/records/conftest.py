from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.builtin.accounts.models import User
from app.core.db import get_db_context
from app.features.records.models import Record
from app.features.records.router import router
from app.registry import Feature
from app.settings import Settings
from tests.credited import CREDITS, give
from tests.gated import Service, bearer, serving

READ, WRITE, ROLE = "read:records", "write:records", "db_reader"
BALANCE = 1000
AddUser = Callable[[AsyncSession], Awaitable[UUID]]


@pytest.fixture
def add_user() -> AddUser:
    """Makes users, who own records; nobody signs in with them."""
    made = 0

    async def add(session: AsyncSession) -> UUID:
        nonlocal made
        made += 1
        user = User(email=f"owner{made}@example.com", password_hash="none")
        session.add(user)
        await session.flush()
        return user.id

    return add


@pytest.fixture(scope="module")
async def records_service(settings: Settings) -> AsyncIterator[Service]:
    feature = Feature(name="records", router=router, models=(Record,))
    async with serving(settings, CREDITS, feature) as service:
        yield service


@pytest.fixture
async def service(
    records_service: Service, clean_database: None, clean_store: None
) -> AsyncIterator[Service]:
    """The service with nothing in its servers, and a client that presents nothing."""
    headers = records_service.client.headers.copy()
    yield records_service
    records_service.client.headers = headers
    records_service.client.cookies.clear()


@pytest.fixture
async def owner(service: Service, add_user: AddUser) -> UUID:
    """A user with ``BALANCE`` credits."""
    async with get_db_context(service.platform.database) as session:
        user = await add_user(session)
    await give(service.platform.database, str(user), BALANCE)
    return user


@pytest.fixture
async def client(service: Service, owner: UUID) -> httpx2.AsyncClient:
    """A client that is signed in as ``owner``, with every right that records need."""
    service.client.headers.update(bearer(owner, scopes=(READ, WRITE), roles=(ROLE,)))
    return service.client
