"""The header fields that tell a caller about his limits: draft-ietf-httpapi-ratelimit-headers (2025-09) and Retry-After (RFC 9110).

Items are Strings, because the Token form stands only in a later editor's draft. ``t`` is the time until the limit lets this request
pass when it refused, otherwise until the bucket or window is whole again. Quotas follow the limits: their ``q`` is that of the caller's
plan, ``t`` ends with the day or month, and there is no ``w``, as those differ in length. What is in shadow mode does not show.
"""

from functools import lru_cache
from math import ceil

from app.core.policies import Admission, Allowance, Plan

Field = tuple[bytes, bytes]


def policy_field(plan: Plan) -> Field | None:
    """``RateLimit-Policy`` of a plan; constant, so computed once."""
    items = [
        f'"{limit.name}";q={limit.quota};w={ceil(limit.window)}' for limit in plan.limits if not limit.shadow
    ]  # fmt: skip
    return (b"ratelimit-policy", ", ".join(items).encode()) if items else None


class LimitField:
    """``RateLimit`` of a plan's decisions; the text between the numbers is made once."""

    __slots__ = ("_at", "_template")

    def __init__(self, plan: Plan) -> None:
        shown = [i for i, limit in enumerate(plan.limits) if not limit.shadow]
        self._at = tuple(4 * i for i in shown)
        self._template = ", ".join(f'"{plan.limits[i].name}";r=%d;t=%d' for i in shown).encode()

    def of(self, admission: Admission) -> Field:
        """The field for one decision. ``t`` is rounded up to whole seconds."""
        numbers = admission.numbers
        values: list[int] = []
        for at in self._at:
            remaining, wait = numbers[at + 1], numbers[at + 2] if numbers[at] else max(numbers[at + 3], 0)
            values += (max(remaining, 0), -(-wait // 1_000_000))
        return (b"ratelimit", self._template % tuple(values))


def limit_field(admission: Admission) -> Field:
    """``RateLimit`` of one decision, for limits that are checked now and then; a gate keeps a LimitField."""
    return LimitField(admission.plan).of(admission)


def with_quotas(fields: tuple[Field, ...], admission: Admission) -> tuple[Field, ...]:
    """The fields of the limits, or none, with the quotas that the decision looked at."""
    answer = admission.answer
    if answer is None or not answer.quotas:
        return fields
    policies, states = fields or (None, None)
    policy, template, shown = _quota_texts(admission.ask.allowances[: len(answer.quotas)], policies)
    if not shown:
        return fields
    values: list[int] = []
    for number, end_ms in shown:
        values += (answer.quotas[number][1], max(-((admission.now_ms - end_ms) // 1000), 0))
    text = template % tuple(values)
    return policy, (b"ratelimit", b"%b, %b" % (states[1], text) if states is not None else text)


@lru_cache(maxsize=1024)
def _quota_texts(
    allowances: tuple[Allowance, ...], policies: Field | None
) -> tuple[Field, bytes, tuple[tuple[int, int], ...]]:
    """``RateLimit-Policy`` with the quotas behind the limits' ``policies``, the text between the numbers of ``RateLimit``, and of which
    allowances these are, each with its end. The same for all of an account's requests of a minute.
    """
    shown = [(number, one) for number, one in enumerate(allowances) if not one.shadow]
    more = ", ".join(f'"{one.name}";q={one.limit}' for _, one in shown).encode()
    policy = b"%b, %b" % (policies[1], more) if policies is not None else more
    template = ", ".join(f'"{one.name}";r=%d;t=%d' for _, one in shown).encode()
    return (b"ratelimit-policy", policy), template, tuple([(number, one.end_ms) for number, one in shown])
