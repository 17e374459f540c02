"""What the turnstile says to a request."""

from typing import NamedTuple

from app.core.http._answer import Answer
from app.core.http._claims import Claims
from app.core.policies import Admission, CircuitOpen


class Passage(NamedTuple):
    """What became of a request: admitted with ``claims``, answered at once, or (both None) refused: with ``refusal``, or as ``admission``
    says.
    """

    admission: Admission
    claims: Claims | None = None
    answer: Answer | None = None
    is_due: bool = False
    refusal: CircuitOpen | None = None
