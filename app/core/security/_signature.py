"""Signs, and checks signatures. The only module that imports python-jose.

python-jose does this and nothing else here. Left to itself it lets a token pick its algorithm, accepts a token without ``exp`` or
``aud``, ignores ``crit``, and reads the process's clock; so a token is read by ``_compact`` before and judged by its claims' rules
(``_claims``, ``_supabase_claims``) besides.
"""

from collections.abc import Mapping
from typing import Any

from jose import jwk, jws
from jose.exceptions import JOSEError

from app.core.security._errors import InvalidToken
from app.core.security._keys import TokenKey


class SigningKey:
    """A key that signs claims. ``key`` must be one that can."""

    def __init__(self, key: TokenKey) -> None:
        self.kid, self._algorithm = key.kid, key.algorithm
        self._key = jwk.construct(key.material, key.algorithm)

    def sign(self, claims: dict[str, Any], header: Mapping[str, str]) -> str:
        """The compact token; ``alg`` and ``kid`` are put into its header."""
        return jws.sign(claims, self._key, headers={**header, "kid": self.kid}, algorithm=self._algorithm)


class VerifyingKey:
    """A key that checks signatures of its one ``algorithm``."""

    def __init__(self, key: TokenKey) -> None:
        self.algorithm = key.algorithm
        built = jwk.construct(key.material, key.algorithm)
        self._key = built if key.algorithm == "HS256" else built.public_key()

    def check(self, token: str) -> None:
        """Raises ``InvalidToken`` (``signature``) unless this key has signed ``token``."""
        try:
            jws.verify(token, self._key, algorithms=[self.algorithm])
        except JOSEError as exc:
            raise InvalidToken("signature") from exc
