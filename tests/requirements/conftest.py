from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.core import APIRouter
from app.core.db import AsyncSession, Database, configure, get_db_context
from app.core.valkey import Cache, ValkeyClient, configure_cache
from app.registry import Feature
from app.settings import Settings
from tests.gated import Service, serving
from tests.requirements.shop import SCHEMA, Campaign, Email, Item, Shop, User
from tests.staff import staff_tables

Serve = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture
def serve(settings: Settings, clean_store: None) -> Serve:
    """Runs a service that has just this router: ``async with serve(router) as service``."""

    def run(router: APIRouter, **options: Any) -> AbstractAsyncContextManager[Service]:
        return serving(settings, Feature(name="example", router=router, **options))

    return run


@pytest.fixture
async def staff(database: Database) -> AsyncIterator[Database]:
    """The tables of ``tests.staff``, for one test."""
    async with staff_tables(database):
        yield database


@pytest.fixture
async def session(staff: Database) -> AsyncIterator[AsyncSession]:
    """A session on them, which nobody commits."""
    async with staff.session() as session:
        yield session


@pytest.fixture
def configured(database: Database) -> Iterator[Database]:
    """The process's default database, as a door configures it."""
    configure(database)
    yield database
    configure(None)


@pytest.fixture
async def cached(store: ValkeyClient, clean_store: None) -> AsyncIterator[None]:
    """The process's default cache, as a door configures it."""
    cache = Cache(store)
    configure_cache(cache)
    yield
    configure_cache(None)
    await cache.close()


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[UUID]:
    """The documents' tables with two items, an active and an inactive user, two campaigns and three e-mails; the active user's id."""
    async with database.engine.begin() as connection:
        await connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
        await connection.run_sync(Shop.metadata.create_all)
    async with get_db_context(database) as db:
        user = User(email="ann@example.com")
        db.add_all([Item(name="pen"), Item(name="ink"), user, User(email="bob@example.com", is_active=False)])
        await db.flush()
        campaigns = [Campaign(user_id=user.id, name=name) for name in ("spring", "autumn")]
        db.add_all(campaigns)
        await db.flush()
        db.add_all([Email(campaign_id=campaigns[0].id), Email(campaign_id=campaigns[0].id, subject="Again")])
        db.add(Email(campaign_id=campaigns[1].id))
    yield user.id
    async with database.engine.begin() as connection:
        await connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        await connection.execute(text(f"DROP SCHEMA {SCHEMA} CASCADE"))
