"""Against what is known: pi, and the eigenvalues that LAPACK finds."""

import math

import numpy as np

from app.features.heavy_calc.schemas import HeavyJobInput
from app.features.heavy_calc.service import (
    POINTS_AT_ONCE,
    ROWS_AT_ONCE,
    calculate,
    estimate_pi,
    largest_eigenvalue,
    random_symmetric,
)
from tests.cases import each_case


class Heard:
    def __init__(self) -> None:
        self.fractions: list[float] = []
        self.words: list[str] = []

    def __call__(self, fraction: float, words: str) -> None:
        self.fractions.append(fraction)
        self.words.append(words)


class TestPi:
    def test_the_interval_holds_pi_about_as_often_as_it_says(self) -> None:
        estimates = [estimate_pi(10_000, seed, Heard()) for seed in range(100)]
        assert 85 <= sum(abs(value - math.pi) <= error for value, error, _ in estimates) <= 100
        assert len({value for value, _, _ in estimates}) > 50, "seeds differ"

    def test_more_points_make_it_narrower(self) -> None:
        (_, wide, _), (value, narrow, steps) = (
            estimate_pi(points, 1, Heard()) for points in (10_000, 1_000_001)
        )
        assert abs(value - math.pi) < 0.01
        assert 9 < wide / narrow < 11
        assert steps == 2

    def test_it_says_how_far_it_is_after_each_batch(self) -> None:
        heard = Heard()
        estimate_pi(POINTS_AT_ONCE + POINTS_AT_ONCE // 2, 1, heard)
        assert heard.fractions == [1 / 1.5, 1.0]
        assert heard.words[0] == "1,000,000 of 1,500,000 points"


class TestEigenvalue:
    @each_case("rows", [100, ROWS_AT_ONCE, ROWS_AT_ONCE + 1])
    def test_it_is_the_largest_one_and_within_its_bounds(self, rows: int) -> None:
        matrix = random_symmetric(rows, 7, Heard())
        assert np.array_equal(matrix, matrix.T)
        assert (matrix.min() >= 0, matrix.max() < 1) == (True, True)
        assert 0.28 < matrix.std() < 0.30, "uniform"
        value, error, steps = largest_eigenvalue(rows, 7, Heard())
        known = float(np.linalg.eigvalsh(matrix)[-1])
        assert abs(value - known) <= error + 1e-9 * known
        assert error <= 1e-9 * known
        assert 1 < steps < 50

    def test_it_says_how_far_it_is_up_to_the_end(self) -> None:
        heard = Heard()
        largest_eigenvalue(2 * ROWS_AT_ONCE, 7, heard)
        assert heard.fractions[:2] == [0.25, 0.5]
        assert heard.fractions == sorted(heard.fractions)
        assert heard.fractions[-1] == 1.0


@each_case("what", ["pi", "eigenvalue"])
def test_the_same_calculation_has_the_same_result(what: str) -> None:
    wanted = HeavyJobInput.model_validate({"what": what, "size": 1_000, "seed": 42})
    first, again = calculate(wanted, Heard()), calculate(wanted, Heard())
    assert first == again
    assert first.low < first.value < first.high
    assert (first.what, first.size, first.seed) == (what, 1_000, 42)
    assert calculate(wanted.model_copy(update={"seed": 43}), Heard()).value != first.value
