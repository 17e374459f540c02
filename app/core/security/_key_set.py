"""Several keys of tokens at once: which of them signs now, which verify, and which are told to others."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, Protocol

from app.core.errors import ConfigurationError
from app.core.security._keys import TokenKey
from app.core.security._public_jwk import public_jwk
from app.core.security._signature import SigningKey, VerifyingKey

KeyState = Literal["upcoming", "signing", "retired", "over"]


@dataclass(frozen=True, slots=True)
class KeyTerm:
    """A key and its time, in seconds since the epoch: it signs from ``starts`` to ``ends``, and verifies until ``until``, also before it
    signs. The defaults are those of a key that never signs and always verifies.
    """

    key: TokenKey
    starts: float = inf
    ends: float = inf
    until: float = inf

    def state(self, now: float) -> KeyState:
        """``upcoming``: verifies, does not sign yet; ``retired``: verifies what it signed; ``over``: all that it signed has expired."""
        if now >= self.until:
            return "over"
        if now < self.starts:
            return "upcoming"
        return "signing" if now < self.ends else "retired"


class KeySet:
    """The keys of one moment's configuration; immutable. Raises ConfigurationError for two keys of one id, and when none can sign.

    What a key is (upcoming, signing, retired) follows from the clock alone: processes that have read the same keys agree without talking,
    and those whose clocks differ accept each other's tokens, because a key verifies before it signs and long after.
    """

    def __init__(self, terms: Sequence[KeyTerm]) -> None:
        self.terms = tuple(sorted(terms, key=lambda term: (term.starts, term.key.kid)))
        self._verifying = {term.key.kid: (VerifyingKey(term.key), term.until) for term in terms}
        if len(self._verifying) != len(self.terms):
            raise ConfigurationError("Two token keys have the same id.")
        self._signing = [
            (term.starts, SigningKey(term.key))
            for term in self.terms
            if term.key.can_sign and term.starts < inf
        ]
        if not self._signing:
            raise ConfigurationError("Tokens need a key that signs.")
        self.algorithms = frozenset(term.key.algorithm for term in self.terms)

    @classmethod
    def fixed(cls, keys: Sequence[TokenKey]) -> "KeySet":
        """A set without times: the first key signs, all verify. Raises ConfigurationError when the first cannot."""
        if not keys or not keys[0].can_sign:
            raise ConfigurationError("Tokens need at least one key, and the first one must be able to sign.")
        return cls([KeyTerm(keys[0], starts=-inf), *map(KeyTerm, keys[1:])])

    @property
    def kids(self) -> list[str]:
        """The keys' ids, sorted."""
        return sorted(self._verifying)

    def current(self) -> "KeySet":
        """Itself: a set that does not change is a ``KeySource``."""
        return self

    def signer(self, now: float) -> SigningKey:
        """The key that signs at ``now``: the last that has begun; before all of them the first, because a clock may jump back."""
        begun = [key for starts, key in self._signing if starts <= now]
        return begun[-1] if begun else self._signing[0][1]

    def verifier(self, kid: str, now: float) -> VerifyingKey | None:
        """The key of this id, unless there is none or its time is over."""
        found = self._verifying.get(kid)
        return found[0] if found is not None and now < found[1] else None

    def published(self, now: float) -> list[dict[str, str]]:
        """What verifies, as public JWKs (RFC 7517): upcoming, signing and retired keys, never a secret."""
        return [
            public_jwk(term.key)
            for term in self.terms
            if term.key.algorithm != "HS256" and term.state(now) != "over"
        ]

    def has_lost(self, former: "KeySet") -> bool:
        """Whether a key of ``former`` is gone or another one has its id: what it verified no longer holds."""
        keys: dict[str, Any] = {term.key.kid: term.key for term in self.terms}
        return any(keys.get(term.key.kid) != term.key for term in former.terms)

    def __repr__(self) -> str:
        return f"KeySet({self.kids})"


class KeySource(Protocol):
    """Whoever knows the keys of now. ``KeySet`` is one that never changes, ``KeyFolder`` one that does."""

    def current(self) -> KeySet:
        """The keys of this moment; the same object as long as nothing has changed. Asked for every token, so it is quick."""
        ...
