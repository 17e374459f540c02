"""A key as others may see it: a JSON Web Key (RFC 7517, RFC 8037) that is built of the public numbers alone."""

from base64 import urlsafe_b64encode

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from app.core.security._keys import TokenKey

_P256_BYTES = 32
_Public = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def public_jwk(key: TokenKey) -> dict[str, str]:
    """The public part of ``key``. Raises ValueError for an HS256 key, which has none."""
    if key.algorithm == "HS256":
        raise ValueError("an HS256 key has no public part")
    return {"kid": key.kid, "use": "sig", "alg": key.algorithm, **_members(_public(key))}


def _public(key: TokenKey) -> _Public:
    """All that what is written down is made of; the private key is left behind here."""
    private = load_pem_private_key(key.material, password=None) if key.can_sign else None
    public = private.public_key() if private is not None else load_pem_public_key(key.material)
    assert isinstance(public, _Public)  # noqa: S101 - TokenKey has checked it
    return public


def _members(public: _Public) -> dict[str, str]:
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    if isinstance(public, ec.EllipticCurvePublicKey):
        point = public.public_numbers()
        x, y = (_text(number.to_bytes(_P256_BYTES, "big")) for number in (point.x, point.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": _text(raw)}


def _number(value: int) -> str:
    return _text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
