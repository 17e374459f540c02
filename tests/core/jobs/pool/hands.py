"""Orders for jobs in real processes, and what became of those."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import psutil

from app.core.context import Principal
from app.core.jobs import ClaimedJob, Job, ProcessPool
from tests.core.jobs.pool.pool_jobs import Order, pool_order

PATIENCE_S = 60.0


class Told:
    """The reports of one run; ``first`` is what it said first."""

    def __init__(self) -> None:
        self.said: list[tuple[float, str | None]] = []
        self.costs: list[int] = []
        self._first: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def progress(self, fraction: float, note: str | None) -> None:
        self.said.append((fraction, note))
        if not self._first.done():
            self._first.set_result(note or "")

    def cost(self, micro: int) -> None:
        self.costs.append(micro)

    async def first(self) -> str:
        async with asyncio.timeout(PATIENCE_S):
            return await self._first


def claimed(job: Job[Any], packed: bytes) -> ClaimedJob:
    by = Principal("somebody", tenant_id="a tenant")
    return ClaimedJob(uuid4(), job.name, job.options.queue, 2, 3, packed, by, "00-trace", 0.0)


async def order(pool: ProcessPool, do: str, number: int = 0, told: Told | None = None) -> Any:
    """Have it done; what the job returned."""
    one = claimed(pool_order, pool_order.pack(Order(do=do, number=number)))
    async with asyncio.timeout(PATIENCE_S):
        result = await pool.run(pool_order, one, told or Told())
    return None if result is None else json.loads(result)


async def full(pool: ProcessPool, processes: int) -> list[int]:
    """Its processes, as soon as there are so many and none of them is one that has died."""
    async with asyncio.timeout(PATIENCE_S):
        while len(pool.pids) < processes or not all(map(is_alive, pool.pids)):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)
    return pool.pids


async def gone(*pids: int) -> None:
    """Returns when none of them runs any more."""
    async with asyncio.timeout(PATIENCE_S):
        while any(is_alive(pid) for pid in pids):  # noqa: ASYNC110 - the kernel's word is all there is
            await asyncio.sleep(0.005)


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
