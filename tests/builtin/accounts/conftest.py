from collections.abc import Iterator

import pytest

from app.core.security import PasswordHasher


@pytest.fixture(scope="session")
def hasher() -> Iterator[PasswordHasher]:
    """Weak on purpose, so that hashing does not dominate the tests."""
    hasher = PasswordHasher(memory_kib=64, time_cost=1, parallelism=1)
    yield hasher
    hasher.close()
