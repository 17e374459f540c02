"""What callers who come again and again ask of one endpoint: put together and packed once, and filled in for each request."""

from typing import NamedTuple

from app.core.context import Principal
from app.core.policies._admission import Admission
from app.core.policies._admitter import Admitter
from app.core.policies._ask import Ask, Lookup
from app.core.policies._keys import Caller
from app.core.policies._known_question import KnownQuestion
from app.core.policies._terms import Terms

_MOST = 1024


class _Known(NamedTuple):
    principal: Principal
    network: str
    question: KnownQuestion | None


class StandingQuestions:
    """One endpoint's. But for the answer that a request looks for and the name of its charge, what it asks with quota, slot, credits and
    cache is what its caller's last one asked; putting that together anew took a twelfth of its CPU time (measured).

    By the very principal that a verified token stands for, so another token, or one with other rights, is another caller; the quotas of
    another minute or plan are another question. At most 1,024 callers and then none, and only those who come a second time. Not for
    endpoints whose costs depend on the request. Nothing of an answer is remembered.
    """

    __slots__ = ("_admitter", "_known", "_terms")

    def __init__(self, admitter: Admitter, terms: Terms) -> None:
        self._admitter = admitter
        self._terms = terms
        self._known: dict[int, _Known] = {}

    async def find(self, caller: Caller, lookup: Lookup | None) -> KnownQuestion | None:
        """His question, about this answer. Raises Unavailable when his plan cannot be read."""
        known = self._known.get(id(caller.principal))
        if (
            known is None
            or known.question is None
            or not _is_his(known, caller)
            or self._admitter.is_clustered
        ):
            return None
        question = known.question
        if not _is_alike(lookup, question.ask.lookup):
            return None
        ask = await self._terms.again(question.ask, caller, lookup)
        return question.about(ask) if ask is not None else None

    def keep(self, caller: Caller, asked: Admission) -> None:
        """He was let in with this: remember him, and the next time his question."""
        principal = caller.principal
        is_whole = asked.costs == asked.plan.costs  # not one that had been charged in part
        # Without an answer only limits were asked, which are quickly put together.
        if principal is None or asked.degraded or asked.answer is None or not is_whole:
            return
        if not _is_plain(asked.ask):
            return
        before = self._known.get(id(principal))
        is_again = before is not None and _is_his(before, caller)
        if len(self._known) >= _MOST:
            self._known.clear()
        question = self._admitter.known(asked, caller, is_open=True) if is_again else None
        self._known[id(principal)] = _Known(principal, caller.network, question)


def _is_his(known: _Known, caller: Caller) -> bool:
    # The principal is held, so that its number is nobody else's.
    return known.principal is caller.principal and known.network == caller.network


def _is_alike(lookup: Lookup | None, other: Lookup | None) -> bool:
    """But for the answer's key. One gate may serve several methods, and only some of them look an answer up."""
    if lookup is None or other is None:
        return lookup is other
    return lookup[1:] == other[1:]


def _is_plain(ask: Ask) -> bool:
    lookup = ask.lookup
    is_open = lookup is None or not (lookup.must_compute or lookup.tag_keys)
    return is_open and ask.claim is None and not ask.circuit_open and not ask.lacking
