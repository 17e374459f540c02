"""``python -m tests.core.jobs.pool.pool_worker``: a worker on uvloop with a pool of two, one of them busy. Writes the family's numbers."""

import asyncio
import json
import sys
from uuid import uuid4

import psutil
import uvloop

from app.core.jobs import ClaimedJob, ProcessPool
from tests.core.jobs.pool.pool_jobs import Order, pool_order


class Told:
    def __init__(self) -> None:
        self.first = asyncio.Event()

    def progress(self, fraction: float, note: str | None) -> None:
        self.first.set()

    def cost(self, micro: int) -> None: ...


def claimed(do: str) -> ClaimedJob:
    packed = pool_order.pack(Order(do=do))
    return ClaimedJob(uuid4(), pool_order.name, "cpu", 1, 3, packed, None, None, 0.0)


async def main() -> None:
    pool = ProcessPool([pool_order], 2)
    await pool.start()
    told = Told()
    busy = asyncio.create_task(pool.run(pool_order, claimed("spin"), told))
    await told.first.wait()
    await pool.run(pool_order, claimed("nothing"), Told())
    family = psutil.Process().children(recursive=True)
    sys.stdout.write(json.dumps({"jobs": pool.pids, "family": [one.pid for one in family]}) + "\n")
    sys.stdout.flush()
    await busy


if __name__ == "__main__":
    uvloop.run(main())
