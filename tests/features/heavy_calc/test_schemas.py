from typing import Any

import pytest
from pydantic import ValidationError

from app.features.heavy_calc.schemas import LARGEST_MATRIX, HeavyJobInput
from tests.cases import each_case


def test_nothing_need_be_said() -> None:
    assert HeavyJobInput.model_validate({}) == HeavyJobInput(what="pi", size=10_000_000, seed=0)


@each_case(
    "said",
    [
        {"size": 100},
        {"size": 1_000_000_000, "seed": 2**53 - 1},
        {"what": "eigenvalue", "size": LARGEST_MATRIX},
    ],
)
def test_sizes_up_to_the_bounds_are_taken(said: dict[str, Any]) -> None:
    assert HeavyJobInput.model_validate(said).size == said["size"]


@each_case(
    ("said", "word"),
    [
        ({"size": 99}, "size"),
        ({"size": 1_000_000_001}, "size"),
        ({"size": "1000"}, "size"),
        ({"size": True}, "size"),
        ({"size": 1e3}, "size"),
        ({"what": "eigenvalue", "size": LARGEST_MATRIX + 1}, "the size of a matrix may be 2,000 at most"),
        ({"what": "eigenvalue"}, "the size of a matrix may be 2,000 at most"),
        ({"what": "e"}, "what"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**53}, "seed"),
        ({"more": 1}, "more"),
    ],
)
def test_anything_else_is_refused_by_name(said: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        HeavyJobInput.model_validate(said)
