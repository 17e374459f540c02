"""A question that one caller asks again and again, with all of it that does not change made once."""

from typing import NamedTuple

from app.core.policies._ask import Ask
from app.core.policies._plan import Plan
from app.core.valkey import PackedCall


class KnownQuestion(NamedTuple):
    """For ``Admitter.admit_known``. ``keys`` and ``costs`` are those of the limits of ``plan``; ``ask`` has the caller's token in it."""

    plan: Plan
    keys: list[str]
    costs: tuple[int, ...]
    ask: Ask
    call: PackedCall
