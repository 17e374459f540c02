from time import monotonic

import pytest

from app.core.context import RequestContext, current_context, reset_context, set_context
from app.core.resilience import deadline_at, earliest, remaining_s


def test_without_a_deadline_the_default_stands() -> None:
    assert remaining_s() is None
    assert remaining_s(7.0) == 7.0


def test_what_is_left_is_at_most_the_default_and_never_negative() -> None:
    with deadline_at(monotonic() + 60):
        left = remaining_s()
        assert left is not None
        assert 50 < left <= 60
        assert remaining_s(7.0) == 7.0
    with deadline_at(monotonic() - 60):
        assert remaining_s(7.0) == 0.0


def test_deadlines_only_shrink() -> None:
    token = set_context(RequestContext(request_id="r", deadline=100.0))
    try:
        for asked, held in ((200.0, 100.0), (None, 100.0), (50.0, 50.0)):
            with deadline_at(asked):
                assert current_context() == RequestContext(request_id="r", deadline=held)
                with deadline_at(75.0):
                    assert current_context().deadline == min(held, 75.0)
        assert current_context().deadline == 100.0
    finally:
        reset_context(token)


@pytest.mark.parametrize(("given", "first"), [((), None), ((None, None), None), ((2.0, None, 1.0), 1.0)])
def test_the_earliest_of_those_that_there_are(given: tuple[float | None, ...], first: float | None) -> None:
    assert earliest(*given) == first
