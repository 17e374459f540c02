"""Signs, and checks signatures. The only module that imports python-jose.

python-jose does this and nothing else here. Left to itself it lets a token pick its algorithm, accepts a token without ``exp`` or
``aud``, ignores ``crit``, and reads the process's clock; so a token is read by ``_compact`` before and judged by its claims' rules
(``_claims``, ``_supabase_claims``, ``_oidc_claims``) besides. It knows no EdDSA (RFC 8037): that is ``cryptography``'s, here too.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jose import jwk, jws
from jose.exceptions import JOSEError

from app.core.security._errors import InvalidToken
from app.core.security._keys import TokenKey


class SigningKey:
    """A key that signs claims. ``key`` must be one that can."""

    def __init__(self, key: TokenKey) -> None:
        self.kid, self._algorithm = key.kid, key.algorithm
        self._edwards = _edwards_private(key) if key.algorithm == "EdDSA" else None
        self._key: Any = jwk.construct(key.material, key.algorithm) if self._edwards is None else None

    def sign(self, claims: dict[str, Any], header: Mapping[str, str]) -> str:
        """The compact token; ``alg`` and ``kid`` are put into its header."""
        fields = {**header, "kid": self.kid}
        if self._edwards is None:
            return jws.sign(claims, self._key, headers=fields, algorithm=self._algorithm)
        message = f"{_segment(orjson.dumps({'alg': 'EdDSA', **fields}))}.{_segment(orjson.dumps(claims))}"
        return f"{message}.{_segment(self._edwards.sign(message.encode('ascii')))}"


class VerifyingKey:
    """A key that checks signatures of its one ``algorithm``."""

    def __init__(self, key: TokenKey) -> None:
        self.algorithm = key.algorithm
        self._edwards = _edwards_public(key) if key.algorithm == "EdDSA" else None
        self._key: Any = None
        if self._edwards is None:
            built = jwk.construct(key.material, key.algorithm)
            self._key = built if key.algorithm == "HS256" else built.public_key()

    def check(self, token: str) -> None:
        """Raises ``InvalidToken`` (``signature``) unless this key has signed ``token``."""
        try:
            if self._edwards is None:
                jws.verify(token, self._key, algorithms=[self.algorithm])
            else:
                _check_edwards(self._edwards, token)
        except (JOSEError, InvalidSignature, ValueError) as exc:
            raise InvalidToken("signature") from exc


def _check_edwards(key: Ed25519PublicKey, token: str) -> None:
    """That the header says EdDSA too is asked here once more, as python-jose asks it of the other algorithms."""
    message, _, signature = token.rpartition(".")
    if orjson.loads(_bytes(message.partition(".")[0])).get("alg") != "EdDSA":
        raise InvalidSignature
    key.verify(_bytes(signature), message.encode("ascii"))


def _edwards_private(key: TokenKey) -> Ed25519PrivateKey:
    loaded = load_pem_private_key(key.material, password=None)
    assert isinstance(loaded, Ed25519PrivateKey)  # noqa: S101 - TokenKey has checked it
    return loaded


def _edwards_public(key: TokenKey) -> Ed25519PublicKey:
    if key.can_sign:
        return _edwards_private(key).public_key()
    loaded = load_pem_public_key(key.material)
    assert isinstance(loaded, Ed25519PublicKey)  # noqa: S101 - TokenKey has checked it
    return loaded


def _segment(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(segment: str) -> bytes:
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
