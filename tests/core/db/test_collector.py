"""The garbage collector is rare while rows are made, and as before afterwards."""

import gc
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from app.core.db._collector import rare_collections


@pytest.fixture(autouse=True)
def as_python_has_it() -> Iterator[None]:
    former = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*former)


def test_collections_are_rare_inside_and_as_before_afterwards() -> None:
    with rare_collections():
        assert gc.get_threshold() == (50_000, 10, 10)
    assert gc.get_threshold() == (700, 10, 10)


def test_an_error_leaves_it_as_before() -> None:
    with pytest.raises(ZeroDivisionError), rare_collections():
        raise ZeroDivisionError
    assert gc.get_threshold() == (700, 10, 10)


def test_the_last_of_overlapping_blocks_puts_it_back() -> None:
    first, second = ExitStack(), ExitStack()
    first.enter_context(rare_collections())
    second.enter_context(rare_collections())
    first.close()
    assert gc.get_threshold() == (50_000, 10, 10)
    second.close()
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("found", [(0, 10, 10), (90_000, 5, 5)])
def test_off_and_rarer_stay(found: tuple[int, int, int]) -> None:
    gc.set_threshold(*found)
    with rare_collections():
        assert gc.get_threshold() == found
    assert gc.get_threshold() == found


def test_what_somebody_sets_meanwhile_stays() -> None:
    with rare_collections():
        gc.set_threshold(1000, 20, 20)
    assert gc.get_threshold() == (1000, 20, 20)
