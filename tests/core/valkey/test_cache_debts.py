"""What an outage kept from being ended is ended when it is over."""

import asyncio

from app.core.valkey import StoreDown
from app.core.valkey._cache_debts import Debts


class Flaky:
    """A store that is away for its first calls."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.ended: list[tuple[str, ...]] = []
        self.asleep = asyncio.Event()
        self.go_on = asyncio.Event()

    async def invalidate(self, *tags: str) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreDown("away")
        self.ended.append(tags)

    async def sleep(self, _seconds: float) -> None:
        self.asleep.set()
        await self.go_on.wait()
        await asyncio.sleep(0)


async def test_what_is_owed_is_known_and_paid_once() -> None:
    store = Flaky(failures=3)
    debts = Debts(store.invalidate, sleep=store.sleep)
    await debts.end(["b"])
    await debts.end(["a"])
    assert debts.has(["x", "a"])
    assert not debts.has(["x"])
    store.go_on.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert store.ended == [("a", "b")]
    assert not debts.has(["a", "b"])


async def test_closing_stops_the_payments() -> None:
    store = Flaky(failures=1)
    debts = Debts(store.invalidate, sleep=store.sleep)
    await debts.end(["a"])
    await store.asleep.wait()
    await debts.close()
    store.go_on.set()
    await asyncio.sleep(0)
    assert store.ended == []
    await debts.close()
