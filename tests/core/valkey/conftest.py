"""Clients of servers that a test may change or that are away."""

from collections.abc import AsyncIterator

import pytest

from app.core.valkey import ValkeyClient
from tests.servers import PrivateServer


@pytest.fixture
async def private_valkey_client(private_valkey: PrivateServer) -> AsyncIterator[ValkeyClient]:
    """A client of a server that no other test uses."""
    client = ValkeyClient(private_valkey.url, timeout_s=5.0)
    yield client
    await client.close()


@pytest.fixture
async def dead_client() -> AsyncIterator[ValkeyClient]:
    """A client of a server that does not exist."""
    client = ValkeyClient("unix:///nowhere/valkey.sock", timeout_s=0.5)
    yield client
    await client.close()
