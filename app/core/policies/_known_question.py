"""A question that one caller asks again and again, with all of it that does not change made once."""

from typing import NamedTuple

from app.core.policies._admission import Admission
from app.core.policies._ask import Ask
from app.core.policies._asked import call_of, must_have_store
from app.core.policies._plan import Plan
from app.core.policies._questions import lease_key
from app.core.valkey import Gap, PackedCall, Script, packed_parts


class KnownQuestion(NamedTuple):
    """For ``Admitter.admit_known``. ``keys`` and ``costs`` are those of the limits of ``plan``; ``ask`` has the caller's token in it.

    ``is_patient``: an outage would mean a refusal, so that waiting longer is worth it. ``entry`` and ``charge`` fill the gaps of ``call``.
    """

    plan: Plan
    keys: list[str]
    costs: tuple[int, ...]
    ask: Ask
    call: PackedCall
    is_patient: bool = False
    entry: bytes = b""
    charge: bytes = b""

    def about(self, ask: Ask) -> "KnownQuestion":
        """The same, where that was left open, about another answer and under another charge's name: those of ``ask``."""
        lookup, hold = ask.lookup, ask.hold
        entry = packed_parts(lookup.key, lease_key(lookup)) if lookup is not None else b""
        charge = packed_parts(hold.settlement_key) if hold is not None else b""
        return KnownQuestion(self.plan, self.keys, self.costs, ask, self.call, self.is_patient, entry, charge)


def known_question(asked: Admission, script: Script, *, is_open: bool) -> KnownQuestion:
    """What was just asked. is_open: which answer is looked for and the charge's name are left open, for ``about``."""
    plan, keys, costs, ask = asked.plan, list(asked.keys), asked.costs, asked.ask
    names, values = call_of(asked._replace(rid=""))
    at = 2 + len(plan.arguments(costs))  # where the parts begin, the id before them
    entry = charge = None
    if is_open and ask.lookup is not None:
        entry = Gap(names.index(ask.lookup.key), 2)  # with its lease
        del names[entry.at : entry.at + 2]
    if is_open and ask.hold is not None:
        charge = Gap(len(values) - 2, 1)
        del values[charge.at]
    call = PackedCall(script, names, values, at=at, keys_gap=entry, args_gap=charge)
    return KnownQuestion(plan, keys, costs, ask, call, plan.has_closed or must_have_store(ask))
