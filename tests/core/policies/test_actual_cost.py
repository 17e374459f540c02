"""``set_cost`` in work that is no request."""

import asyncio

import pytest

from app.core.errors import ConfigurationError
from app.core.policies import Credits, JobConfig, Retry, set_cost
from tests.core.policies.office import (
    ANN,
    FREE,
    Office,
)
from tests.credited import give

pytestmark = pytest.mark.usefixtures("clean_store", "clean_database")
UP_TO_TEN = JobConfig(rate_limit=None, credits=Credits(cost=10))


@pytest.mark.parametrize("settle", ["strict", "batched"])
@pytest.mark.parametrize(("cost", "left"), [(3, 17), (0, 20), (12, 8), (25, 0)])
async def test_what_it_took_is_charged_and_the_rest_is_free_again(
    office: Office,
    *,
    cost: int,
    left: int,
    settle: str,
) -> None:
    async def work() -> str:
        set_cost(cost)
        return "done"

    await give(office.database, ANN.id, 20)
    config = JobConfig(rate_limit=None, credits=Credits(cost=10, settle=settle))  # type: ignore[arg-type]
    assert await office.run(config, work) == "done"
    await office.ledger.aclose()
    assert await office.left() == (left, 0)


async def test_two_at_once_are_told_apart(office: Office) -> None:
    both = asyncio.Barrier(2)

    def work(cost: int) -> object:
        async def run() -> None:
            await both.wait()
            set_cost(cost)
            await both.wait()

        return office.run(UP_TO_TEN, run)

    await give(office.database, ANN.id, 20)
    await asyncio.gather(work(1), work(4))  # type: ignore[call-overload]
    assert await office.left() == (15, 0)


async def test_a_run_under_a_key_that_is_paid_is_not_paid_again(office: Office) -> None:
    async def work() -> None:
        set_cost(2)

    await give(office.database, ANN.id, 20)
    for _ in range(2):
        await office.run(UP_TO_TEN, work, settlement_key="job-1")
    assert await office.left() == (18, 0)


async def test_the_last_attempt_has_the_last_word(office: Office) -> None:
    costs = [5, 2]

    async def work() -> None:
        set_cost(costs.pop(0))
        if costs:
            raise ConnectionError

    await give(office.database, ANN.id, 20)
    config = JobConfig(rate_limit=None, credits=Credits(cost=10), retry=Retry(retry_safe=True))
    await office.run(config, work)
    assert await office.left() == (18, 0)


async def test_work_inside_of_other_work_names_its_own_cost_only(office: Office) -> None:
    async def inner() -> None:
        with pytest.raises(ConfigurationError, match="Nothing is charged here"):
            set_cost(9)

    async def outer() -> None:
        await office.run(FREE, inner, name="inner")
        set_cost(1)

    await give(office.database, ANN.id, 20)
    await office.run(UP_TO_TEN, outer)
    assert await office.left() == (19, 0)
