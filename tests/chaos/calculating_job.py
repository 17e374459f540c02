"""The job that only calculates: in a module that imports little, because the pool's processes import it anew for every worker."""

import random
import time

from pydantic import BaseModel

from app.core.jobs import JobRun, job
from app.core.policies import CREDIT

LONGEST_S = 0.1
PRICE = 2 * CREDIT


class Order(BaseModel):
    """``number``: of the order."""

    number: int


@job("calculate", queue="cpu", attempts=100, backoff_s=0)
def calculate(order: Order, run: JobRun) -> int:
    """In a process of the pool; costs half of its price."""
    time.sleep(random.uniform(0, LONGEST_S))
    run.set_cost(PRICE // 2)
    return order.number
