from collections.abc import AsyncIterator, Callable

import pytest
from fastapi import FastAPI

from app.builtin.accounts.models import User
from app.builtin.accounts.service import create_user
from app.core.db import Database, get_db_context
from app.core.security import PasswordHasher
from app.main import create_app
from app.settings import Settings
from tests.apps import running
from tests.builtin.pages.browser import EMAIL, PASSWORD, Browser


@pytest.fixture(scope="module")
async def site(make_settings: Callable[..., Settings]) -> AsyncIterator[FastAPI]:
    """The whole service; one for all tests of a module."""
    async with running(create_app(make_settings(login={"failed_auth_per_ip": 100_000}))) as app:
        yield app


@pytest.fixture
async def ann(database: Database, clean_database: None, clean_store: None) -> User:
    """An admin who may see policies, and send every form that there is."""
    hasher = PasswordHasher(memory_kib=64, time_cost=1, parallelism=1)
    async with get_db_context(database) as db:
        user = await create_user(
            db, hasher, EMAIL, PASSWORD, roles=["admin"], scopes=["read:policies", "write:monitor"]
        )
    hasher.close()
    return user


@pytest.fixture
async def browser(site: FastAPI, ann: User) -> Browser:
    """Nobody is signed in."""
    return Browser(site)
