"""What admitted work is charged."""

import pytest

from app.core.context import Principal
from app.core.policies import Admission, Ask, Caller, Debit, Hold, Plan, debit_of

CALLER = Caller(Principal("ann"), "192.0.2.1")
HOLD = Hold("{u:ann}:v1:c", 3_000_000, 10_000, "settled-once", shadow=False)
HELD = Admission(
    Plan("work", []), allowed=True, cause=0, numbers=(), degraded=False, rid="1", ask=Ask(hold=HOLD)
)


@pytest.mark.parametrize(
    ("actual", "micro"), [(None, 3_000_000), (0, 0), (5, 5)], ids=["estimate", "free", "actual"]
)
def test_what_the_work_says_it_cost_is_charged_otherwise_the_estimate(actual: int | None, micro: int) -> None:
    assert debit_of(HELD, CALLER, actual, "r1") == Debit("ann", micro, "settled-once", "work", "r1")
