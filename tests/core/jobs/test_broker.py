"""Valkey's broker: what any does, on a real server."""

from collections.abc import AsyncIterator

import pytest

from app.core.jobs import JobBroker, ValkeyBroker
from app.core.valkey import ValkeyClient
from tests.core.jobs.broker_contract import BrokerContract, queue

__all__ = ["queue"]


@pytest.fixture
async def broker(store: ValkeyClient) -> AsyncIterator[JobBroker]:
    broker = ValkeyBroker(store, prefix="contract", timeout_s=30.0)
    yield broker
    await broker.close()


@pytest.fixture
async def other(store: ValkeyClient) -> AsyncIterator[JobBroker]:
    broker = ValkeyBroker(store, prefix="contract", timeout_s=30.0)
    yield broker
    await broker.close()


@pytest.fixture
async def forgetful(store: ValkeyClient) -> AsyncIterator[JobBroker]:
    broker = ValkeyBroker(store, prefix="contract", stale_s=0.001, timeout_s=30.0)
    yield broker
    await broker.close()


@pytest.mark.usefixtures("clean_store")
class TestValkeyBroker(BrokerContract):
    pass
