"""Limits per name that is not the caller's identity."""

from hashlib import blake2b

from app.core.context import Principal
from app.core.policies._admission import Admission
from app.core.policies._admitter import Admitter
from app.core.policies._keys import Caller
from app.core.policies._plan import Plan
from app.core.policies._rate_limit import RateLimit


class Spent:
    """One attempt that was charged: counted whatever becomes of it, unless it is given back."""

    def __init__(self, admitter: Admitter, admission: Admission) -> None:
        self._admitter = admitter
        self._admission = admission

    def outstanding(self, limit: str) -> int:
        """How many attempts the limit of this name counts now, with this one. Raises ValueError for a name that it has not."""
        for state in self._admission.states:
            if state.limit.name == limit:
                return max((state.limit.burst or state.limit.quota) - state.remaining, 1)
        raise ValueError(f"there is no limit {limit}")

    async def give_back(self, attempts: int = 1) -> None:
        """Take so many attempts off every limit with ``charge="admit"``, this one and others of the same name: the caller knows that they
        were honest. Never below zero; the first call counts. Never raises for the store.
        """
        costs = tuple([cost * attempts for cost in self._admission.costs])
        await self._admitter.abort(self._admission._replace(costs=costs))


class AttemptLimit:
    """Limits per name that is not the caller's identity, for example the account of a login: counted before the secret is checked, all
    in one round trip.

    ``limit`` and ``more`` count per ``user``, whose place the name takes, or per ``ip``, or both. The name is hashed with ``secret``, so
    what users type never stands in the store, and nobody outside can compute the key. With ``charge="admit"`` an attempt that any of
    them refuses is charged to none, and ``Spent.give_back`` works.
    """

    def __init__(
        self, admitter: Admitter, policy: str, limit: RateLimit, *more: RateLimit, secret: bytes
    ) -> None:
        self._admitter = admitter
        self._plan = Plan(policy, [limit, *more])
        self._secret = blake2b(secret, digest_size=32).digest()

    async def spend(self, name: str, network: str = "") -> Spent:
        """Charge one attempt. Raises RateLimitExceeded (429), or LimitUnavailable (503) where a limit is ``closed``."""
        digest = blake2b(name.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=16).hexdigest()
        admission = await self._admitter.admit(self._plan, Caller(Principal(f"name-{digest}"), network))
        if not admission.allowed:
            raise admission.refusal()
        return Spent(self._admitter, admission)
