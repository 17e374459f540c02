"""The keys that sign and verify tokens. One key has one algorithm, so a token can never choose how it is
checked.
"""

import json
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, Self

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from app.core.errors import ConfigurationError

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]

MIN_SECRET_BYTES = 32
MIN_RSA_BITS = 2048
_KID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One key under its ``kid``, bound to one algorithm.

    ``material`` is a secret of 32 bytes or more for HS256, and a PEM document for RS256 (2048 bits or more),
    ES256 (P-256) and EdDSA (Ed25519, RFC 8037): a private key signs and verifies, a public key only verifies.
    Raises ``ConfigurationError`` for anything else, in particular for a public key in whatever encoding that is offered as an HMAC secret:
    everybody knows public keys, so everybody could sign with it.
    """

    kid: str
    algorithm: Algorithm
    material: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not _KID.fullmatch(self.kid):
            raise ConfigurationError(
                "A key id has 1 to 64 characters out of letters, digits, '.', '_' and '-'."
            )
        if self.algorithm == "HS256":
            _check_secret(self.material)
        elif self.algorithm in ("RS256", "ES256", "EdDSA"):
            _check_pem(self.material, self.algorithm)
        else:
            raise ConfigurationError("A token key's algorithm is HS256, RS256, ES256 or EdDSA.")

    @classmethod
    def from_secret(cls, secret: str) -> Self:
        """An HS256 key whose id follows from the secret, so that processes that share the secret agree on the
        id.
        """
        material = secret.encode()
        return cls(
            kid=sha256(b"gatehouse kid\0" + material).hexdigest()[:12], algorithm="HS256", material=material
        )

    @property
    def can_sign(self) -> bool:
        """Whether this key makes signatures, not only checks them."""
        return self.algorithm == "HS256" or b"PRIVATE KEY" in self.material


def _check_secret(material: bytes) -> None:
    if len(material) < MIN_SECRET_BYTES:
        raise ConfigurationError(f"An HS256 secret has {MIN_SECRET_BYTES} bytes or more.")
    if _is_public_key(material):
        raise ConfigurationError("An HS256 secret must not be a key document: a public key is no secret.")


def _is_public_key(material: bytes) -> bool:
    text = material.strip()
    if b"-----BEGIN" in text or text.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        return True
    return _is_jwk(text) or _is_der(material)


def _is_jwk(text: bytes) -> bool:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and ("kty" in document or "keys" in document)


def _is_der(material: bytes) -> bool:
    try:
        load_der_public_key(material)
    except Exception:  # noqa: BLE001 - whatever the parser dislikes about it, it is not a DER key
        return False
    return True


def _check_pem(material: bytes, algorithm: Algorithm) -> None:
    if not material.lstrip().startswith(b"-----BEGIN"):
        raise ConfigurationError(f"An {algorithm} key is a PEM document.")
    try:
        found = algorithm_of(material)
    except Exception as exc:
        raise ConfigurationError(f"The {algorithm} key is not a readable PEM key.") from exc
    if found != algorithm:
        raise ConfigurationError(
            "RS256 takes an RSA key of 2048 bits or more, ES256 a P-256 key, EdDSA an Ed25519 key."
        )


def algorithm_of(pem: bytes) -> Algorithm | None:
    """The one algorithm that this PEM key, private or public, may serve; none for a key of another kind or too small a one.

    Raises whatever the parser dislikes about it.
    """
    key = load_pem_private_key(pem, password=None) if b"PRIVATE KEY" in pem else load_pem_public_key(pem)
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return "RS256" if key.key_size >= MIN_RSA_BITS else None
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return "ES256" if key.curve.name == "secp256r1" else None
    if isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return "EdDSA"
    return None
