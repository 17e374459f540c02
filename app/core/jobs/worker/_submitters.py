"""What the submitter of a job may do when it runs, which may be long after he submitted it."""

from collections.abc import Callable
from typing import Protocol

from app.core.context import Principal
from app.core.errors import PermissionDenied

_MOST = 10_000


class SubmitterGone(PermissionDenied):
    """Whoever submitted the job has no account here any more, or it is blocked."""

    def __init__(self) -> None:
        super().__init__("The account that submitted this job is closed or blocked.")


class Submitters(Protocol):
    """Who knows what people may do now. A feature provides it; without one jobs run with the rights that they were submitted with."""

    async def rights_of(self, submitter: Principal) -> Principal | None:
        """The submitter, with those of his rights that he has still; None: his account is closed or blocked. Somebody whom another issuer
        vouches for keeps what he had. Raises Unavailable while it cannot be known.
        """


class KnownSubmitters(Submitters):
    """Asks ``source`` once in ``fresh_s`` seconds for equal rights of one submitter, and keeps up to 10,000 answers. ``monotonic`` in
    seconds. Belongs to one event loop.
    """

    def __init__(self, source: Submitters, monotonic: Callable[[], float], *, fresh_s: float = 5.0) -> None:
        self._source = source
        self._monotonic = monotonic
        self._fresh_s = fresh_s
        self._known: dict[tuple[str, str], tuple[float, Principal | None]] = {}

    async def rights_of(self, submitter: Principal) -> Principal | None:
        """As the source said a moment ago, or says now."""
        key, now = (submitter.id, submitter.rights), self._monotonic()
        known = self._known.get(key)
        if known is not None and known[0] > now:
            return known[1]
        found = await self._source.rights_of(submitter)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (now + self._fresh_s, found)
        return found
