"""Policies of your own: a rule that looks at the caller and the head of his request and says no, or nothing."""

from typing import Protocol

from app.core.errors import PolicyRejected
from app.core.policies._keys import Caller
from app.core.policies._rate_limit import CostRequest


class ExtraPolicy(Protocol):
    """One rule; put it into ``JobConfig.extra``. docs/policies/your-own.md shows one from end to end.

    ``refusal`` is asked after authentication and authorisation and before ADMIT. It must be quick, without I/O, and raise nothing. Its
    refusals are charged to the attempt limits like a 403, and counted and logged under ``name``. Make it a frozen dataclass that checks
    its options when it is built.
    """

    @property
    def name(self) -> str:
        """What callers and metrics see: ``[a-z][a-z0-9_]*``, unique within the endpoint."""

    def refusal(self, caller: Caller, request: CostRequest) -> PolicyRejected | None:
        """Why this request may not pass, or None."""
