import pytest

from app.core.resilience import doubled_pause


@pytest.mark.parametrize(
    ("failures", "pause"), [(0, 0.1), (1, 0.2), (2, 0.4), (5, 3.2), (6, 5.0), (100_000, 5.0)]
)
def test_a_pause_doubles_up_to_the_longest(failures: int, pause: float) -> None:
    assert doubled_pause(0.1, failures, 5.0) == pause


def test_a_first_pause_may_be_none_or_longer_than_the_longest() -> None:
    assert doubled_pause(0.0, 3, 5.0) == 0.0
    assert doubled_pause(9.0, 0, 5.0) == 5.0
