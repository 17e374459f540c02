"""Two calculations that keep a processor busy, and say how far they are."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.features.heavy_calc.schemas import HeavyJobInput, HeavyJobResult

Progress = Callable[[float, str], None]

POINTS_AT_ONCE = 1_000_000
ROWS_AT_ONCE = 200
_MOST_PRODUCTS = 100
_CLOSE_ENOUGH = 1e-10
_OF_95_PERCENT = 1.959964


def calculate(wanted: HeavyJobInput, progress: Progress) -> HeavyJobResult:
    """Do what is wanted; ``progress`` is told of every step, as a fraction and in words."""
    work = estimate_pi if wanted.what == "pi" else largest_eigenvalue
    value, error, steps = work(wanted.size, wanted.seed, progress)
    return HeavyJobResult(
        what=wanted.what,
        size=wanted.size,
        seed=wanted.seed,
        value=value,
        low=value - error,
        high=value + error,
        steps=steps,
    )


def estimate_pi(points: int, seed: int, progress: Progress) -> tuple[float, float, int]:
    """Four times the share of random points of a square that lie in its quarter circle; half of the 95 % interval, by the normal
    approximation of that share; batches of points.
    """
    rng = np.random.default_rng(seed)
    inside = done = steps = 0
    while done < points:
        batch = min(POINTS_AT_ONCE, points - done)
        x, y = rng.random((2, batch))
        inside += int(np.count_nonzero(x * x + y * y < 1.0))
        done += batch
        steps += 1
        progress(done / points, f"{done:,} of {points:,} points")
    share = inside / points
    return 4 * share, 4 * _OF_95_PERCENT * math.sqrt(share * (1 - share) / points), steps


def largest_eigenvalue(rows: int, seed: int, progress: Progress) -> tuple[float, float, int]:
    """Of a symmetric matrix with random entries from 0 to 1, by power iteration; how far off it may be; products made.

    All entries are positive, so one eigenvalue is far larger than the others (Perron and Frobenius) and a few products find it. A symmetric
    matrix has an eigenvalue as near to the estimate as the residual is long.
    """
    matrix = random_symmetric(rows, seed, progress)
    vector = np.full(rows, 1 / math.sqrt(rows))
    value, error, step = 0.0, math.inf, 0
    while step < _MOST_PRODUCTS and error > _CLOSE_ENOUGH * abs(value):
        product = matrix @ vector
        value = float(vector @ product)
        error = float(np.linalg.norm(product - value * vector))
        vector = product / np.linalg.norm(product)
        step += 1
        progress(0.5 + 0.5 * step / _MOST_PRODUCTS, f"{step} products, error {error:.1e}")
    progress(1.0, f"{step} products, error {error:.1e}")
    return value, error, step


def random_symmetric(rows: int, seed: int, progress: Progress) -> NDArray[np.float64]:
    """The matrix, made a few rows at a time: the first half of the way."""
    rng = np.random.default_rng(seed)
    matrix = np.empty((rows, rows))
    for first in range(0, rows, ROWS_AT_ONCE):
        last = min(first + ROWS_AT_ONCE, rows)
        matrix[first:last, first:] = rng.random((last - first, rows - first))
        square = matrix[first:last, first:last]
        square[:] = np.triu(square) + np.triu(square, 1).T
        matrix[last:, first:last] = matrix[first:last, last:].T
        progress(0.5 * last / rows, f"{last:,} of {rows:,} rows")
    return matrix
