"""Reads a JSON Web Key Set (RFC 7517) that somebody else publishes, and takes from it only what may verify tokens."""

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.core.errors import ConfigurationError
from app.core.security._keys import Algorithm, TokenKey

MAX_KEYS = 32
_MAX_RSA_BITS = 8192
_MAX_EXPONENT_BITS = 32  # a longer one makes every check slow
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_ALGORITHMS: dict[str, Algorithm] = {"EC": "ES256", "RSA": "RS256", "OKP": "EdDSA"}
_FIELD = 2**255 - 19
_NO_SIGN = 2**255 - 1
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826  # y of two points of order 8
_SMALL_ORDER = frozenset({0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8})


class KeysNotRead(Exception):
    """A key set could not be had. ``reason`` is one short word for logs; it holds nothing of what was read."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse_jwk_set(document: bytes) -> dict[str, TokenKey]:
    """The usable keys of a set by ``kid``: public EC keys on P-256, RSA keys of 2048 to 8192 bits and Ed25519
    keys (RFC 8037), meant for signatures.

    Every other key is passed over, as RFC 7517 asks: one without ``kid``, of another kind, for another use or algorithm, with its
    private part in it, or none at all. Raises ``KeysNotRead`` when the document is no key set (``json``, ``form``), has more than 32
    keys (``too_many``) or two usable ones of one ``kid`` (``duplicate``).
    """
    try:
        content = orjson.loads(document)
    except orjson.JSONDecodeError as exc:
        raise KeysNotRead("json") from exc
    listed = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise KeysNotRead("form")
    if len(listed) > MAX_KEYS:
        raise KeysNotRead("too_many")
    found = [key for one in listed if (key := _usable(one)) is not None]
    keys = {key.kid: key for key in found}
    if len(keys) != len(found):
        raise KeysNotRead("duplicate")
    return keys


def _usable(jwk: Mapping[str, Any]) -> TokenKey | None:
    kid, kind = jwk.get("kid"), jwk.get("kty")
    algorithm = _ALGORITHMS.get(kind) if isinstance(kind, str) else None
    # A key whose private part is public signs for everybody.
    if algorithm is None or not isinstance(kid, str) or "d" in jwk or not _is_meant(jwk, algorithm):
        return None
    try:
        public = _READERS[algorithm](jwk)
        return TokenKey(kid, algorithm, public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    except (ValueError, ConfigurationError):
        return None


def _is_meant(jwk: Mapping[str, Any], algorithm: Algorithm) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("use", "sig") == "sig"
        and jwk.get("alg", algorithm) == algorithm
        and isinstance(operations, list)
        and "verify" in operations
    )


def _elliptic(jwk: Mapping[str, Any]) -> ec.EllipticCurvePublicKey:
    if jwk.get("crv") != "P-256":
        raise ValueError("another curve")
    return ec.EllipticCurvePublicNumbers(_number(jwk, "x"), _number(jwk, "y"), ec.SECP256R1()).public_key()


def _rsa(jwk: Mapping[str, Any]) -> rsa.RSAPublicKey:
    modulus, exponent = _number(jwk, "n"), _number(jwk, "e")
    if modulus.bit_length() > _MAX_RSA_BITS or exponent.bit_length() > _MAX_EXPONENT_BITS:
        raise ValueError("too large")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _edwards(jwk: Mapping[str, Any]) -> ed25519.Ed25519PublicKey:
    if jwk.get("crv") != "Ed25519":
        raise ValueError("another curve")
    point = _bytes(jwk, "x")
    # Of these keys (points of small order) anybody can make a signature of any message, and the library takes them.
    if (int.from_bytes(point, "little") & _NO_SIGN) % _FIELD in _SMALL_ORDER:
        raise ValueError("no key")
    return ed25519.Ed25519PublicKey.from_public_bytes(point)


def _number(jwk: Mapping[str, Any], name: str) -> int:
    return int.from_bytes(_bytes(jwk, name), "big")


def _bytes(jwk: Mapping[str, Any], name: str) -> bytes:
    text = jwk.get(name)
    if not isinstance(text, str) or not _BASE64URL.fullmatch(text):
        raise ValueError(name)
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


_Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
_READERS: dict[Algorithm, Callable[[Mapping[str, Any]], _Public]] = {
    "ES256": _elliptic,
    "RS256": _rsa,
    "EdDSA": _edwards,
}
