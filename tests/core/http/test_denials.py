"""What a gate remembers of networks that guessed too often."""

import pytest

from app.core.http._denials import Denials
from app.core.policies import Admission, Plan, RateLimit
from app.core.resilience import ManualClock

NETWORK, OTHER = "192.0.2.1", "192.0.2.2"
PLAN = Plan(
    "work",
    [
        RateLimit.fixed_window("failed_auth", limit=1, window=60, scope="ip"),
        RateLimit.fixed_window("everybody", limit=1, window=60, scope="global", charge="attempt"),
    ],
)


def refused(*, cause: int = 1, degraded: bool = False, wait_s: int = 60) -> Admission:
    """Both limits are used up; ``cause`` says by which one it was refused."""
    numbers = (0, 0, 0, wait_s * 1_000_000) * 2
    return Admission(PLAN, allowed=False, cause=cause, numbers=numbers, degraded=degraded)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class TestDenials:
    def test_a_refused_network_waits_as_long_as_it_was_told(self, clock: ManualClock) -> None:
        denials = Denials(clock)
        denials.add(NETWORK, refused(wait_s=60))
        clock.advance(20)
        assert denials.wait_s(NETWORK) == pytest.approx(40)
        assert denials.wait_s(OTHER) == 0

    def test_it_is_asked_again_when_the_time_is_over(self, clock: ManualClock) -> None:
        denials = Denials(clock)
        denials.add(NETWORK, refused(wait_s=60))
        clock.advance(60)
        assert denials.wait_s(NETWORK) <= 0
        assert denials.wait_s(NETWORK) == 0

    @pytest.mark.parametrize(
        "admission",
        [refused(cause=2), refused(degraded=True)],
        ids=["a limit that others use too", "not the store's word"],
    )
    def test_what_is_not_about_the_network_alone_is_not_remembered(
        self, clock: ManualClock, admission: Admission
    ) -> None:
        denials = Denials(clock)
        denials.add(NETWORK, admission)
        assert denials.wait_s(NETWORK) == 0

    def test_the_oldest_is_forgotten_for_a_new_one_when_there_are_too_many(self, clock: ManualClock) -> None:
        denials = Denials(clock, capacity=1)
        denials.add(NETWORK, refused())
        denials.add(OTHER, refused())
        assert denials.wait_s(NETWORK) == 0
        assert denials.wait_s(OTHER) == pytest.approx(60)
