"""Ways to do the same, in turns: what one of them costs against another."""

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, NamedTuple

Way = Callable[[int], Awaitable[object]]
"""One operation; it is told its number."""
Measure = Literal["cpu", "wall"]


class Cost(NamedTuple):
    """Microseconds for one operation: of this process's processor time, and by the clock on the wall."""

    cpu: float
    wall: float


Rounds = Mapping[str, Sequence[Cost]]
"""What each way has cost in each round."""


async def in_turns(ways: Mapping[str, Way], *, rounds: int, operations: int) -> dict[str, list[Cost]]:
    """Each way so many ``operations`` on end, ``rounds`` times, there and back; a round before them warms up.

    Turns are short, so that what else the machine does meets all ways alike.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            taken = await cost(ways[name], operations, first=number * operations)
            if number:
                costs[name].append(taken)
    return costs


async def cost(way: Way, operations: int, *, first: int = 0) -> Cost:
    """Of one operation, as the mean of ``operations`` on end."""
    gc.collect()  # what others left is not this one's to clear away
    cpu, wall = time.process_time(), time.perf_counter()
    for number in range(first, first + operations):
        await way(number)
    return Cost(
        1e6 * (time.process_time() - cpu) / operations, 1e6 * (time.perf_counter() - wall) / operations
    )


def median(costs: Sequence[Cost]) -> Cost:
    """Of each of the two, by itself."""
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def ratio(rounds: Rounds, over: str, under: str, measure: Measure) -> float:
    """What ``over`` costs for each unit that ``under`` costs: the median of the rounds' ratios.

    Of two neighbours in time, so a machine that becomes slower changes both.
    """
    pairs = zip(rounds[over], rounds[under], strict=True)
    column = Cost._fields.index(measure)
    return statistics.median(one[column] / other[column] for one, other in pairs)
