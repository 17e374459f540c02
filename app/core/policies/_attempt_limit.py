"""A limit per name that is not the caller's identity."""

from hashlib import blake2b

from app.core.context import Principal
from app.core.policies._admitter import Admitter
from app.core.policies._keys import Caller
from app.core.policies._plan import Plan
from app.core.policies._rate_limit import RateLimit


class AttemptLimit:
    """A limit per name that is not the caller's identity, for example the account of a login: counted before the secret is checked.

    ``limit`` counts per ``user``, whose place the name takes. It is hashed with ``secret``, so what users type never stands
    in the store, and nobody outside can compute the key.
    """

    def __init__(self, admitter: Admitter, policy: str, limit: RateLimit, *, secret: bytes) -> None:
        self._admitter = admitter
        self._plan = Plan(policy, [limit])
        self._secret = blake2b(secret, digest_size=32).digest()

    async def spend(self, name: str) -> None:
        """Charge one attempt. Raises RateLimitExceeded (429), or LimitUnavailable (503) where the limit is ``closed``."""
        digest = blake2b(name.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=16).hexdigest()
        admission = await self._admitter.admit(self._plan, Caller(Principal(f"name-{digest}"), ""))
        if not admission.allowed:
            raise admission.refusal()
