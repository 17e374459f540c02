"""Tokens that were verified a moment ago, kept so that a client's next request costs a look-up and no
cryptography.
"""

from hashlib import blake2b

from app.core.context import Principal
from app.core.security._errors import InvalidToken


class VerifiedTokens:
    """A bounded map from a token's BLAKE2b hash to its principal; holds ``size`` tokens at most (an odd size
    counts as the next even one), and never a token's text.

    Eviction is by two generations: a full young one becomes the old one, whose predecessor is dropped; what
    is used again moves back to the young one. That approximates least-recently-used without reordering
    anything on a hit. Size 0 keeps nothing.
    """

    def __init__(self, size: int) -> None:
        self._half = (size + 1) // 2
        self._young: dict[bytes, Principal] = {}
        self._old: dict[bytes, Principal] = {}

    @staticmethod
    def key(token: str) -> bytes:
        """The name under which a token is kept. Raises ``UnicodeEncodeError`` for text that is not ASCII."""
        return blake2b(token.encode("ascii"), digest_size=32).digest()

    def get(self, key: bytes) -> Principal | None:
        """The principal, expired or not; the caller compares ``expires_at`` with its clock."""
        principal = self._young.get(key)
        if principal is None and (principal := self._old.get(key)) is not None:
            self.put(key, principal)
        return principal

    def live(self, key: bytes, now: float) -> Principal | None:
        """The principal, if there is one. Raises ``InvalidToken`` (``expired``) from its end on, and forgets it."""
        principal = self.get(key)
        if principal is not None and principal.expires_at <= now:
            self.drop(key)
            raise InvalidToken("expired")
        return principal

    def put(self, key: bytes, principal: Principal) -> None:
        """Keep a principal whose token has just been verified."""
        if self._half == 0:
            return
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = principal

    def drop(self, key: bytes) -> None:
        """Forget a token, for example because it has expired."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Forget every token, for example because the key that verified some is gone."""
        self._young.clear()
        self._old.clear()

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())
