from collections.abc import Iterator

import pytest

from app.core.security import configure_encryption


@pytest.fixture
def keys() -> Iterator[list[str]]:
    """The process's keys, as a door configures them."""
    found = ["the keys of these tests, thirty-two bytes or more"]
    configure_encryption(found)
    yield found
    configure_encryption(None)
