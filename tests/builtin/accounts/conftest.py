from collections.abc import Iterator

import pytest

from app.core.db import Database
from app.core.security import PasswordHasher, configure_encryption
from app.core.valkey import ValkeyClient
from tests.builtin.accounts.desks import Accounts
from tests.builtin.accounts.lives import Lives


@pytest.fixture(scope="session")
def hasher() -> Iterator[PasswordHasher]:
    """Weak on purpose, so that hashing does not dominate the tests."""
    hasher = PasswordHasher(memory_kib=64, time_cost=1, parallelism=1)
    yield hasher
    hasher.close()


@pytest.fixture
def encryption() -> Iterator[None]:
    """This process has keys, as a door gives them."""
    configure_encryption(["a key of the tests, thirty-two bytes or more"])
    yield
    configure_encryption(None)


@pytest.fixture
async def accounts(
    database: Database, store: ValkeyClient, clean_database: None, clean_store: None, encryption: None
) -> Accounts:
    """The services of sessions, at ``desks.START``."""
    return Accounts(database, store)


@pytest.fixture
def lives(accounts: Accounts, store: ValkeyClient, hasher: PasswordHasher) -> Lives:
    """The services of the life of an account, and the mails that they send."""
    return Lives(accounts, store, hasher)
