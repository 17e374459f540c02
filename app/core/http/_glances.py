"""Looks at one endpoint's stored answers that come again and again: who asks for what, with the question to the store made once."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from app.core.context import Principal
from app.core.http._cached_answers import CachedAnswers, Sought
from app.core.policies import Admission, Admitter, Caller, KnownQuestion, Verdict

_MOST = 1024
_SHORT = 256
Scope = Mapping[str, Any]


class _Known(NamedTuple):
    principal: Principal
    network: str
    sought: Sought
    question: KnownQuestion


class Glances:
    """Remembers questions, not answers: only the store says what is given, and to whom.

    By method, path, query and the very principal that a verified token stands for, so another token, or one with other rights, is another
    caller. At most 1,024 and then none; paths and queries over 256 characters are not remembered. Not for endpoints whose key depends on
    more of the request (``CachedAnswers.is_plain``).
    """

    __slots__ = ("_admitter", "_cached", "_known")

    def __init__(self, cached: CachedAnswers, admitter: Admitter) -> None:
        self._cached = cached
        self._admitter = admitter
        self._known: dict[tuple[str, str, bytes, int], _Known] = {}

    def find(self, scope: Scope, caller: Caller) -> tuple[Sought, KnownQuestion] | None:
        """What this caller asked before, where a fresh answer may be expected."""
        key = scope["method"], scope["path"], scope["query_string"], id(caller.principal)
        known = self._known.get(key)
        # The principal is held, so that its number is nobody else's.
        if known is None or known.principal is not caller.principal or known.network != caller.network:
            return None
        if self._admitter.is_clustered or not self._cached.expects_fresh(known.sought):
            return None
        return known.sought, known.question

    def keep(self, scope: Scope, sought: Sought, caller: Caller, asked: Admission) -> None:
        """Remember what was just asked, and found."""
        path, query, principal = scope["path"], scope["query_string"], caller.principal
        if principal is None or asked.verdict is not Verdict.FRESH or len(path) + len(query) > _SHORT:
            return
        question = self._admitter.known(asked, caller)
        if question is None:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        key = scope["method"], path, query, id(principal)
        self._known[key] = _Known(principal, caller.network, sought, question)
