"""Settling without waiting: in one call while all is well, again and with patience when it is not."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from app.core.policies import Admitter, Ask, Settled
from app.core.resilience import SystemClock
from app.core.valkey import Script, StoreDown, StoreTimeout, ValkeyClient
from tests.core.policies.asking import ALICE, NO_LIMITS, slot

pytestmark = pytest.mark.usefixtures("clean_store")


class Unsteady:
    """A store of which ``fails`` calls without patience go wrong as ``how`` says."""

    def __init__(self, store: ValkeyClient, how: str) -> None:
        self.store = store
        self.how = how
        self.fails = 0

    def submit(self, script: Script, keys: Sequence[str], args: Sequence[bytes]) -> Awaitable[bytes]:
        if not self.fails:
            return self.store.submit(script, keys, args)
        self.fails -= 1
        if self.how == "refused":
            raise StoreDown("refused")
        return self._unheard(script, keys, args)

    async def _unheard(self, script: Script, keys: Sequence[str], args: Sequence[bytes]) -> bytes:
        if self.how == "done":
            await self.store.submit(script, keys, args)
        raise StoreTimeout

    async def run(self, *args: Any, **options: Any) -> Any:
        return await self.store.run(*args, **options)


@pytest.mark.parametrize("how", ["refused", "never done", "done"])
async def test_what_could_not_be_settled_at_once_is_settled_once_all_the_same(
    store: ValkeyClient, how: str
) -> None:
    unsteady, told = Unsteady(store, how), []
    admitter = Admitter(
        unsteady, clock=SystemClock(), on_settled=lambda policy, settled: told.append(settled)
    )
    for _ in range(3):  # a slot that stayed taken would refuse the next
        admission = await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(1),)))
        assert admission.allowed
        unsteady.fails = 1
        admitter.settle_soon(admission)
        await admitter.close()
    assert told == [Settled()] * 3
    assert await store.execute("ZCARD", slot(1).key) == 0


async def test_closing_waits_for_what_was_begun(store: ValkeyClient) -> None:
    admitter = Admitter(store, clock=SystemClock())
    taken = [await admitter.admit(NO_LIMITS, ALICE, None, Ask(slots=(slot(100),))) for _ in range(50)]
    for admission in taken:
        admitter.settle_soon(admission)
    async with asyncio.timeout(5):
        await admitter.close()
    assert await store.execute("ZCARD", slot(100).key) == 0
